//! Passwords against their argon2 hashes.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use berth_policy_host::{Password, Passwords};
use berth_store::Store;
use tokio::runtime::Handle;

/// A hash that no password is known for, with the parameters of all others: it takes as long to find out that somebody
/// has no password as that theirs is another one.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlz$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Makes the hash of a password, with a salt of its own. Takes some ten milliseconds and 19 MiB.
///
/// # Errors
/// When the system gives no random bytes.
pub fn hash(password: &Password) -> Result<String, String> {
    let hashed = Argon2::default().hash_password(password.reveal().as_bytes());
    hashed.map(|hash| hash.to_string()).map_err(|error| error.to_string())
}

/// Whether a password is the one behind a hash. Takes as long as making one, also where there is none.
pub fn matches(hash: Option<&str>, password: &Password) -> bool {
    let parsed = hash.and_then(|hash| PasswordHash::new(hash).ok());
    let is_somebodys = parsed.is_some();
    let Some(against) = parsed.or_else(|| PasswordHash::new(NOBODYS).ok()) else { return false };
    let same = Argon2::default().verify_password(password.reveal().as_bytes(), &against).is_ok();
    same && is_somebodys
}

/// The hashes in the store. Policies call from threads of their own, which may wait.
pub struct StoredPasswords {
    pub store: Arc<dyn Store>,
    pub runtime: Handle,
}

impl Passwords for StoredPasswords {
    fn check(&self, user: &str, password: &Password) -> Result<bool, String> {
        let hash = self.runtime.block_on(self.store.password(user)).map_err(|error| error.to_string())?;
        Ok(matches(hash.as_deref(), password))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_lets_its_password_in_and_no_other() {
        let secret = Password::new("correct horse");
        let (one, other) = (hash(&secret).unwrap(), hash(&secret).unwrap());
        assert_ne!(one, other, "each has a salt of its own");
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && !one.contains("horse"), "{one}");
        assert!(matches(Some(&one), &secret) && matches(Some(&other), &secret));
        for wrong in ["", "correct hors", "correct horse ", "Correct horse"] {
            assert!(!matches(Some(&one), &Password::new(wrong)), "{wrong:?}");
        }
        assert!(!matches(None, &secret) && !matches(Some("no hash"), &secret));
    }

    #[test]
    fn nobodys_hash_costs_what_all_others_cost() {
        let parsed = PasswordHash::new(NOBODYS).unwrap();
        let made = hash(&Password::new("x")).unwrap();
        let other = PasswordHash::new(&made).unwrap();
        assert_eq!((parsed.algorithm, parsed.version), (other.algorithm, other.version));
        assert_eq!(parsed.params.to_string(), other.params.to_string());
    }
}
