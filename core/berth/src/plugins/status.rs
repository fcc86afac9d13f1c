//! The boards that Berth's processes tell of themselves.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use berth_config::{Status, StatusKind};
use berth_status_api::{Board, Reach};
use berth_status_consul::{Consul, ConsulConfig};
use berth_status_etcd::{Etcd, EtcdConfig, Login};

use crate::secret_file;

/// How long a server has for an answer, at most: another word is due by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The board that is configured. Nobody is asked yet. Reads the files with secrets.
///
/// # Errors
/// When one of its files cannot be used.
pub fn board(status: &Status) -> anyhow::Result<Arc<dyn Board>> {
    let reach = Reach {
        endpoints: status.endpoints.clone(),
        tls_ca: status.tls_ca.clone(),
        answer_within: ANSWER_WITHIN.min(status.ttl / 3),
    };
    let unusable = |words| anyhow!("status.tls-ca: {words}");
    Ok(match status.kind {
        StatusKind::Etcd => {
            let login = status.login.as_ref().map(|(user, file)| {
                let password = secret_file::read(file).context("status.password-file cannot be used")?;
                anyhow::Ok(Login { user: user.clone(), password })
            });
            let config =
                EtcdConfig { reach, prefix: status.name.clone(), ttl: status.ttl, login: login.transpose()? };
            Arc::new(Etcd::new(config).map_err(unusable)?)
        }
        StatusKind::Consul => {
            let token = status.token_file.as_ref();
            let token = token.map(|file| secret_file::read(file).context("status.token-file cannot be used"));
            let config = ConsulConfig {
                reach,
                service: status.name.clone(),
                ttl: status.ttl,
                token: token.transpose()?,
            };
            Arc::new(Consul::new(config).map_err(unusable)?)
        }
    })
}
