//! Who is next: a tree of those who compete, each node of which knows the best below it.
//!
//! A start makes the accounts on its path worse and those of nobody better. So what a node was offered by a
//! child may have become worse, never better, and it is enough to ask the one with the best offer again before
//! it is taken. A start then costs as much as a few heaps of the siblings on its path, however many jobs and
//! users there are.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use berth_policy_sdk::JobId;

use crate::pending::Place;

/// Less is sooner; of equal ones, what stands behind decides.
#[derive(Clone, Copy, Debug)]
pub struct Score(pub [f64; 3]);

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        let [a, b, c] = self.0;
        let [x, y, z] = other.0;
        a.total_cmp(&x).then_with(|| b.total_cmp(&y)).then_with(|| c.total_cmp(&z))
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Score {}

/// How the account of a node and the score below it make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// They are added.
    Sum,
    /// The account comes first, and what is below decides between equal ones.
    Path,
}

impl Combine {
    /// The score of a node with what it and its account offer.
    pub fn raise(self, term: f64, below: Score) -> Score {
        let Score([first, second, _]) = below;
        match self {
            Self::Sum => Score([term + first, 0.0, 0.0]),
            Self::Path => Score([term, first, second]),
        }
    }
}

/// What a job is ordered by.
pub type Bid = (Score, Place, JobId);

/// What those who compete know and the tree does not.
pub trait Field {
    /// What a leaf offers now; `None` when it has nothing any more.
    fn leaf(&self, leaf: usize) -> Option<Bid>;
    /// What the account of a node says now.
    fn term(&self, account: usize) -> f64;
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(usize),
    Inner {
        /// `None` at the root.
        account: Option<usize>,
        children: BinaryHeap<Reverse<(Bid, usize)>>,
    },
}

/// The tree. Its first node is the root.
#[derive(Clone, Debug)]
pub struct Contest {
    combine: Combine,
    nodes: Vec<Node>,
    /// The parent of each.
    parents: Vec<usize>,
}

impl Contest {
    pub const ROOT: usize = 0;

    pub fn new(combine: Combine) -> Self {
        let root = Node::Inner { account: None, children: BinaryHeap::new() };
        Self { combine, nodes: vec![root], parents: vec![Self::ROOT] }
    }

    /// A node below `parent`, of this account.
    pub fn branch(&mut self, parent: usize, account: usize) -> usize {
        self.push(parent, Node::Inner { account: Some(account), children: BinaryHeap::new() })
    }

    /// A leaf below `parent`.
    pub fn leaf(&mut self, parent: usize, leaf: usize) {
        self.push(parent, Node::Leaf(leaf));
    }

    fn push(&mut self, parent: usize, node: Node) -> usize {
        self.nodes.push(node);
        self.parents.push(parent);
        self.nodes.len() - 1
    }

    /// Lets all offer what they have. To be called once, when the tree is complete.
    pub fn open(&mut self, field: &impl Field) {
        // Children stand behind their parents.
        for number in (1..self.nodes.len()).rev() {
            if let Some(bid) = self.best(number, field) {
                let parent = self.parents.get(number).copied().unwrap_or(Self::ROOT);
                if let Some(Node::Inner { children, .. }) = self.nodes.get_mut(parent) {
                    children.push(Reverse((bid, number)));
                }
            }
        }
    }

    /// The leaf that is next; `None` when there is none.
    pub fn next(&mut self, field: &impl Field) -> Option<usize> {
        self.best(Self::ROOT, field)?;
        let mut number = Self::ROOT;
        loop {
            match self.nodes.get(number)? {
                Node::Leaf(leaf) => return Some(*leaf),
                Node::Inner { children, .. } => number = children.peek()?.0.1,
            }
        }
    }

    /// The best offer of a node and below it; the children on the way to it are then in their right places.
    fn best(&mut self, number: usize, field: &impl Field) -> Option<Bid> {
        loop {
            let (stored, child) = match self.nodes.get(number)? {
                Node::Leaf(leaf) => return field.leaf(*leaf),
                Node::Inner { children, .. } => children.peek()?.0,
            };
            let now = self.best(child, field);
            let Some(Node::Inner { account, children }) = self.nodes.get_mut(number) else { return None };
            if now == Some(stored) {
                let (score, place, job) = stored;
                let raised = account.map_or(score, |account| self.combine.raise(field.term(account), score));
                return Some((raised, place, job));
            }
            children.pop();
            children.extend(now.map(|bid| Reverse((bid, child))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fair {
        used: Vec<f64>,
        left: Vec<u64>,
    }

    impl Field for Fair {
        fn leaf(&self, leaf: usize) -> Option<Bid> {
            let score = Score([leaf as f64 / 10.0, 0.0, 0.0]);
            (self.left[leaf] > 0).then_some((score, (Reverse(0), 0), leaf as JobId))
        }

        fn term(&self, account: usize) -> f64 {
            self.used[account]
        }
    }

    #[test]
    fn accounts_take_turns_as_they_grow_and_the_better_leaf_goes_first() {
        let mut contest = Contest::new(Combine::Sum);
        let [one, other] = [0, 1].map(|account| contest.branch(Contest::ROOT, account));
        for (branch, leaf) in [(one, 0), (one, 1), (other, 2)] {
            contest.leaf(branch, leaf);
        }
        let mut fair = Fair { used: vec![0.0, 0.0], left: vec![2, 1, 3] };
        contest.open(&fair);
        let mut order = Vec::new();
        while let Some(leaf) = contest.next(&fair) {
            order.push(leaf);
            fair.left[leaf] -= 1;
            fair.used[usize::from(leaf == 2)] += 1.0;
        }
        assert_eq!(order, [0, 2, 0, 2, 1, 2]);
    }

    #[test]
    fn on_a_path_the_account_comes_first() {
        let below = |score| Score([score, 0.0, 0.0]);
        let (poor, rich) = (Combine::Path.raise(0.1, below(9.0)), Combine::Path.raise(0.2, below(0.0)));
        assert!(poor < rich);
        assert!(Combine::Path.raise(0.1, below(8.0)) < poor);
        assert!(Combine::Sum.raise(0.1, below(9.0)) > Combine::Sum.raise(0.2, below(0.0)));
    }
}
