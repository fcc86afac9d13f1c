//! Guests: whose word counts for whom they are, and where their files are.

use std::{path::PathBuf, sync::Arc, time::Duration};

use berth_config::{Config, Guests as Settings, Issuer, TokenAlgorithm};
use berth_guests::{IssuerSettings, Issuers, KeySource, Pace, Rules, SignedBy, home_of};
use berth_store::{GuestStanding, Store};
use tokio::sync::watch;

use super::{
    directories::Directories,
    homes::{self, HomeFault},
    turn::now,
};

/// What there is for guests.
pub struct Guests {
    pub settings: Settings,
    pub issuers: Issuers,
}

impl Guests {
    /// `None` where nobody comes as a guest.
    pub fn new(config: &Config) -> Option<Arc<Self>> {
        let settings = config.guests.clone()?;
        let issuers = Issuers::new(settings.issuers.iter().map(issuer).collect());
        Some(Arc::new(Self { settings, issuers }))
    }

    /// A guest's own directory, where guests have any.
    pub fn home(&self, name: &str) -> Option<PathBuf> {
        Some(self.settings.homes.as_ref()?.join(home_of(name)?))
    }

    /// Sees to it that a guest's directory is there, and is the account's that guests' jobs run as.
    ///
    /// # Errors
    /// When it cannot be made, or is somebody else's.
    pub async fn make_home(&self, name: &str, owner: (u32, u32)) -> Result<(), HomeFault> {
        let (Some(top), Some(own)) = (self.settings.homes.clone(), home_of(name)) else { return Ok(()) };
        let own = own.to_owned();
        let made = tokio::task::spawn_blocking(move || homes::make(&top, &own, owner)).await;
        made.unwrap_or_else(|error| {
            let path = self.home(name).unwrap_or_default();
            Err(HomeFault::System { path, what: "made", source: std::io::Error::other(error) })
        })
    }

    /// Measures the directories of guests again and again, one after the other, until the daemon stops.
    pub fn keep_measured(self: &Arc<Self>, store: &Arc<dyn Store>, mut stopped: watch::Receiver<bool>) {
        let Some(top) = &self.settings.homes else { return };
        let directories = Directories::new(top);
        let (guests, store) = (Arc::clone(self), Arc::clone(store));
        tokio::spawn(async move {
            loop {
                guests.measure_all(&*store, &directories).await;
                let pause: Duration = guests.settings.measure_every;
                if tokio::time::timeout(pause, stopped.wait_for(|stop| *stop)).await.is_ok() {
                    return;
                }
            }
        });
    }

    async fn measure_all(&self, store: &dyn Store, directories: &Directories) {
        let all = match store.guests().await {
            Ok(all) => all,
            Err(error) => {
                tracing::warn!(error = %error, "the directories of guests were not measured");
                return;
            }
        };
        // Who was never let in has none.
        for guest in all.into_iter().filter(|guest| guest.standing != GuestStanding::Waiting) {
            let Some(home) = self.home(&guest.name) else { continue };
            let Some(bytes) = directories.bytes_of(home).await else { continue };
            if let Err(error) = store.guest_measured(&guest.name, bytes, now()).await {
                tracing::warn!(guest = guest.name, error = %error, "the size of a guest's directory was not noted");
            }
        }
    }
}

fn issuer(issuer: &Issuer) -> IssuerSettings {
    let by = |algorithm: &TokenAlgorithm| match algorithm {
        TokenAlgorithm::Rs256 => SignedBy::Rs256,
        TokenAlgorithm::Es256 => SignedBy::Es256,
        TokenAlgorithm::EdDsa => SignedBy::EdDsa,
    };
    IssuerSettings {
        url: issuer.url.clone(),
        audience: issuer.audience.clone(),
        algorithms: issuer.algorithms.iter().map(by).collect(),
        source: match &issuer.keys_file {
            Some(path) => KeySource::File(path.clone()),
            None => KeySource::Issuer { ca: issuer.tls_ca.clone() },
        },
        pace: Pace {
            answer_within: issuer.answer_within,
            look_again: issuer.look_again,
            fresh_for: issuer.keys_fresh_for,
            good_for: issuer.keys_good_for,
        },
        rules: Rules {
            claim: issuer.claim.clone(),
            leeway: issuer.leeway,
            domains: issuer.domains.clone(),
            require: issuer.require.clone(),
        },
    }
}
