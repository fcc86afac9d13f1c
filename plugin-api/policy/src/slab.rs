//! Room for many small values of one size, in pages: it grows without ever copying what it holds, which in
//! a memory that never shrinks would leave as much again unused.

/// How many values stand on a page.
const PAGE: usize = 1024;

/// Values by number; numbers that were given back are given out again.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T> {
    pages: Vec<Vec<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), free: Vec::new() }
    }
}

impl<T: Copy> Slab<T> {
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.pages.get(number as usize / PAGE)?.get(number as usize % PAGE)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.pages.get_mut(number as usize / PAGE)?.get_mut(number as usize % PAGE)
    }

    /// All places, those of numbers that were given back among them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(number) = self.free.pop() {
            if let Some(place) = self.get_mut(number) {
                *place = value;
            }
            return number;
        }
        match self.pages.last_mut().filter(|page| page.len() < PAGE) {
            Some(page) => page.push(value),
            None => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(value);
                self.pages.push(page);
            }
        }
        let on_last = self.pages.last().map_or(0, Vec::len);
        let number = (self.pages.len() - 1) * PAGE + on_last - 1;
        u32::try_from(number).expect("fewer than 2^32 values fit into the memory of a policy")
    }

    /// Takes a number back. It must have been given out, and not been taken back since.
    pub(crate) fn remove(&mut self, number: u32) {
        self.free.push(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_numbers_over_many_pages_and_free_ones_are_used_again() {
        let mut slab = Slab::default();
        let values = 0..(3 * PAGE as u32 + 7);
        assert!(values.clone().all(|value| slab.insert(value) == value));
        let removed = [5, PAGE as u32, 3 * PAGE as u32 + 6];
        removed.iter().for_each(|&number| slab.remove(number));
        let again: std::collections::BTreeSet<u32> = (0..3).map(|_| slab.insert(99)).collect();
        assert!(again.iter().eq(&removed), "{again:?}");
        assert!(values.filter(|value| !removed.contains(value)).all(|value| slab.get(value) == Some(&value)));
        assert_eq!(slab.insert(1), 3 * PAGE as u32 + 7);
    }
}
