//! Orders to one executor: those about one attempt go one after the other, as they were given.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use berth_executor_api::{Action, AttemptName, Launch};

/// Something that the executor is to do.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Launch(Arc<Vec<Launch>>),
    Reconcile(Arc<Vec<AttemptName>>),
    List,
    Control(AttemptName, Action),
    Remove(Arc<Vec<AttemptName>>),
}

impl Order {
    pub(crate) fn attempts(&self) -> Vec<AttemptName> {
        match self {
            Self::Launch(batch) => batch.iter().map(|launch| launch.attempt.clone()).collect(),
            Self::Reconcile(attempts) | Self::Remove(attempts) => attempts.to_vec(),
            Self::Control(attempt, _) => vec![attempt.clone()],
            Self::List => Vec::new(),
        }
    }

    /// What is tried again until the back end answers. A launch is not: Berth reconciles first.
    pub(crate) fn is_patient(&self) -> bool {
        match self {
            Self::Reconcile(_)
            | Self::List
            | Self::Remove(_)
            | Self::Control(_, Action::Terminate { .. } | Action::TimeLimit { .. }) => true,
            Self::Launch(_) | Self::Control(..) => false,
        }
    }
}

/// An order and how often it was tried.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub order: Order,
    pub tries: u32,
    /// Whom it is about.
    pub attempts: Vec<AttemptName>,
    /// Counts the orders.
    number: u64,
}

/// Orders that wait. A kill never overtakes the launch of what it is to kill.
#[derive(Default)]
pub(crate) struct Queue {
    given: u64,
    /// Each attempt's unfinished orders, oldest first, by number.
    lines: HashMap<AttemptName, VecDeque<u64>>,
    /// Those that are not the first in all of their lines, and in how many they are not.
    behind: HashMap<u64, (Ticket, usize)>,
    launches: VecDeque<Ticket>,
    others: VecDeque<Ticket>,
}

impl Queue {
    pub(crate) fn accept(&mut self, order: Order) {
        self.given += 1;
        let ticket = Ticket { attempts: order.attempts(), order, tries: 0, number: self.given };
        let mut behind = 0;
        for attempt in &ticket.attempts {
            let line = self.lines.entry(attempt.clone()).or_default();
            match line.back() {
                // The order names the attempt twice.
                Some(last) if *last == ticket.number => continue,
                Some(_) => behind += 1,
                None => {}
            }
            line.push_back(ticket.number);
        }
        match behind {
            0 => self.again(ticket),
            _ => drop(self.behind.insert(ticket.number, (ticket, behind))),
        }
    }

    /// Makes an order ready, also one that was taken out before and is not finished.
    pub(crate) fn again(&mut self, ticket: Ticket) {
        match ticket.order {
            Order::Launch(_) => self.launches.push_back(ticket),
            _ => self.others.push_back(ticket),
        }
    }

    pub(crate) fn next_launch(&mut self) -> Option<Ticket> {
        self.launches.pop_front()
    }

    pub(crate) fn next_other(&mut self) -> Option<Ticket> {
        self.others.pop_front()
    }

    /// The order is finished; what was behind nothing else becomes ready.
    pub(crate) fn finish(&mut self, ticket: &Ticket) {
        for attempt in &ticket.attempts {
            let Some(line) = self.lines.get_mut(attempt) else { continue };
            if line.front() != Some(&ticket.number) {
                continue;
            }
            line.pop_front();
            match line.front().copied() {
                None => drop(self.lines.remove(attempt)),
                Some(next) => self.step_forward(next),
            }
        }
    }

    fn step_forward(&mut self, number: u64) {
        let Some((_, behind)) = self.behind.get_mut(&number) else { return };
        *behind -= 1;
        if *behind == 0
            && let Some((ticket, _)) = self.behind.remove(&number)
        {
            self.again(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_executor_api::{Attempt, JobId};

    use super::*;

    fn name(job: u64) -> AttemptName {
        AttemptName::new("berth", JobId(job), Attempt { number: 1, returned: 0 })
    }

    fn ask(jobs: &[u64]) -> Order {
        Order::Reconcile(Arc::new(jobs.iter().copied().map(name).collect()))
    }

    fn ready(queue: &mut Queue) -> Vec<Ticket> {
        std::iter::from_fn(|| queue.next_other()).collect()
    }

    #[test]
    fn orders_about_one_attempt_keep_their_order_and_others_overtake() {
        let mut queue = Queue::default();
        for jobs in [&[1, 2][..], &[2, 3, 2], &[3], &[4], &[1]] {
            queue.accept(ask(jobs));
        }
        let first = ready(&mut queue);
        let jobs =
            |tickets: &[Ticket]| tickets.iter().map(|ticket| ticket.attempts.clone()).collect::<Vec<_>>();
        assert_eq!(jobs(&first), [vec![name(1), name(2)], vec![name(4)]]);
        queue.finish(&first[0]);
        let second = ready(&mut queue);
        assert_eq!(jobs(&second), [vec![name(1)], vec![name(2), name(3), name(2)]]);
        queue.finish(&second[0]);
        queue.finish(&second[1]);
        let third = ready(&mut queue);
        assert_eq!(jobs(&third), [vec![name(3)]]);
        queue.finish(&third[0]);
        queue.finish(&first[1]);
        assert!(queue.lines.is_empty() && queue.behind.is_empty());
    }
}
