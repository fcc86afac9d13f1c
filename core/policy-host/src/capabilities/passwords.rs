//! Passwords: what somebody has typed is compared here and below, and a policy gets a number that stands for it.

use std::sync::Arc;

use crate::{Password, bindings::v0_1_0::passwords as wit, instance::Guest};

/// How often one password may be tried. A policy tries it with Berth, and with an entry or two of the directory.
const MOST_TRIES: u8 = 4;

/// Where the hashes of passwords are. May wait.
pub trait Passwords: Send + Sync + 'static {
    /// Whether a password is the one that its user has set. Takes as long for users who have none.
    ///
    /// # Errors
    /// When it cannot be said now.
    fn check(&self, user: &str, password: &Password) -> Result<bool, String>;
}

/// The password that the present call is about, if it is about one.
#[derive(Debug, Default)]
pub(crate) struct Presented {
    /// Of the last one. None is given twice, so that no policy can keep one for later.
    number: u64,
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Shown {
    user: String,
    password: Password,
    tries_left: u8,
    was_right: bool,
}

impl Presented {
    /// Begins a call about this password; the number stands for it.
    pub(crate) fn show(&mut self, user: &str, password: &Password) -> u64 {
        self.number = self.number.wrapping_add(1);
        let (user, password) = (user.to_owned(), password.clone());
        self.shown = Some(Shown { user, password, tries_left: MOST_TRIES, was_right: false });
        self.number
    }

    /// Ends that call; true when somebody has found the password right.
    pub(crate) fn put_away(&mut self) -> bool {
        self.shown.take().is_some_and(|shown| shown.was_right)
    }

    /// Whose password to try, and which; `None` where the number stands for none, or for none any more.
    pub(crate) fn attempt(&mut self, number: u64) -> Option<(String, Password)> {
        let shown = self.shown.as_mut().filter(|_| number == self.number)?;
        shown.tries_left = shown.tries_left.checked_sub(1)?;
        Some((shown.user.clone(), shown.password.clone()))
    }

    /// It was right.
    pub(crate) fn note_right(&mut self) {
        if let Some(shown) = &mut self.shown {
            shown.was_right = true;
        }
    }
}

impl wit::Host for Guest {
    fn check(&mut self, password: u64) -> wasmtime::Result<Result<bool, String>> {
        let Some((user, password)) = self.presented.attempt(password) else { return Ok(Ok(false)) };
        let checked = self.waiting(|guest, _| {
            // Linked only where it was granted.
            let passwords =
                guest.grants.passwords.as_ref().map(Arc::clone).ok_or("passwords is not granted")?;
            passwords.check(&user, &password)
        })?;
        if checked == Ok(true) {
            self.presented.note_right();
        }
        Ok(checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_a_password_in_its_own_call_and_a_few_times() {
        let mut presented = Presented::default();
        assert!(presented.attempt(0).is_none() && presented.attempt(1).is_none());
        let first = presented.show("ann", &Password::new("one"));
        assert!(presented.attempt(first + 1).is_none());
        for _ in 0..MOST_TRIES {
            assert_eq!(presented.attempt(first).unwrap().0, "ann");
        }
        assert!(presented.attempt(first).is_none(), "it has been tried often enough");
        assert!(!presented.put_away());
        let second = presented.show("bob", &Password::new("two"));
        assert!(presented.attempt(first).is_none(), "it was another call's");
        presented.note_right();
        assert!(presented.put_away() && !presented.put_away());
        assert!(presented.attempt(second).is_none());
    }

    #[test]
    fn a_password_shows_itself_nowhere() {
        let mut presented = Presented::default();
        presented.show("ann", &Password::new("hunter2"));
        assert!(!format!("{presented:?} {:?}", Password::new("hunter2")).contains("hunter2"));
    }
}
