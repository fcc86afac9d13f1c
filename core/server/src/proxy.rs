//! Somebody whom the site's proxy has made sure of.

use axum::http::{HeaderMap, HeaderName};
use berth_api::ErrorCode;
use sha2::{Digest, Sha256};

use crate::{Peer, Proxy, refusal::Refusal};

/// The header with the proxy's secret.
pub(crate) const SECRET: HeaderName = HeaderName::from_static("berth-proxy-secret");
/// The longest name.
const MOST_NAME_BYTES: usize = 256;

/// The user whom a request is from, where the proxy says so. `None` when it is not from the proxy, or the proxy has
/// nobody to name.
///
/// # Errors
/// When it is from the proxy, and cannot be believed.
pub(crate) fn user(proxy: &Proxy, peer: Peer, headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Peer::Remote { address } = peer else { return Ok(None) };
    let mut named = headers.get_all(&proxy.user_header).iter();
    let Some(first) = named.next() else { return Ok(None) };
    if !proxy.from.contains(&address.to_canonical()) {
        return Ok(None);
    }
    let refused = |message: &str| Refusal::new(ErrorCode::Unauthenticated, message);
    let mut secrets = headers.get_all(SECRET).iter();
    let is_right = match (secrets.next(), secrets.next()) {
        (Some(secret), None) => same(secret.as_bytes(), proxy.secret.as_bytes()),
        _ => false,
    };
    if !is_right {
        return Err(refused("the proxy's secret is missing or wrong"));
    }
    // Two of them may be the proxy's own and one that a client has sent.
    if named.next().is_some() {
        return Err(refused("the proxy names several users at once"));
    }
    let name = std::str::from_utf8(first.as_bytes()).unwrap_or_default();
    let sound = !name.is_empty() && name.len() <= MOST_NAME_BYTES && !name.chars().any(char::is_control);
    match sound {
        true => Ok(Some(name.to_owned())),
        false => Err(refused("the proxy names nobody who could be a user")),
    }
}

/// Compares hashes, so that the time says nothing of how much of it was right.
fn same(one: &[u8], other: &[u8]) -> bool {
    Sha256::digest(one) == Sha256::digest(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy() -> Proxy {
        Proxy {
            user_header: HeaderName::from_static("x-remote-user"),
            from: vec!["10.0.0.5".parse().unwrap()],
            secret: "open sesame".into(),
        }
    }

    fn asked(from: &str, headers: &[(&'static str, &str)]) -> Result<Option<String>, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let peer = Peer::Remote { address: from.parse().unwrap() };
        user(&proxy(), peer, &map).map_err(|refusal| refusal.body().message.clone())
    }

    const ANN: (&str, &str) = ("x-remote-user", "ann");
    const RIGHT: (&str, &str) = ("berth-proxy-secret", "open sesame");

    #[test]
    fn the_proxy_is_believed_and_nobody_else() {
        assert_eq!(asked("10.0.0.5", &[ANN, RIGHT]), Ok(Some("ann".into())));
        assert_eq!(asked("::ffff:10.0.0.5", &[ANN, RIGHT]), Ok(Some("ann".into())));
        assert_eq!(asked("10.0.0.6", &[ANN, RIGHT]), Ok(None), "who knows the secret is not yet the proxy");
        assert_eq!(asked("10.0.0.5", &[RIGHT]), Ok(None));
        let map = HeaderMap::from_iter(
            [ANN, RIGHT].map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())),
        );
        assert!(matches!(user(&proxy(), Peer::Local { uid: 0 }, &map), Ok(None)));
    }

    #[test]
    fn what_could_be_a_client_s_own_words_is_refused() {
        for headers in [
            &[ANN][..],
            &[ANN, ("berth-proxy-secret", "open sesam")],
            &[ANN, ("berth-proxy-secret", "")],
            &[ANN, RIGHT, RIGHT],
            &[ANN, ("x-remote-user", "root"), RIGHT],
            &[("x-remote-user", ""), RIGHT],
        ] {
            let words = asked("10.0.0.5", headers).unwrap_err();
            assert!(!words.contains("sesame"), "{words}");
        }
    }
}
