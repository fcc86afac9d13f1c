//! Starts, as a plan can say them: a job stands in it once, with one node, or with none, where the host takes
//! for each task the usable node with the lowest number on which it fits.

use berth_policy_sdk::{NodeId, scheduler::Start};

/// Where a task is to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    pub node: NodeId,
    /// Whether the host would choose this node, too, once the tasks before it have started.
    pub as_host: bool,
}

/// The starts of a plan.
#[derive(Clone, Debug, Default)]
pub struct Starts {
    pub said: Vec<Start>,
    /// Whether there are tasks that start now and that this plan cannot say. The next one can.
    pub unsaid: bool,
}

impl Starts {
    /// Starts the tasks of a job, or as many of them from the first on as can be said at once. Gives how many.
    pub fn say(&mut self, job: u64, tasks: &[Task]) -> usize {
        let Some(first) = tasks.first() else { return 0 };
        let by_host = tasks.iter().take_while(|task| task.as_host).count();
        let on_one = tasks.iter().take_while(|task| task.node == first.node).count();
        let (count, node) = if by_host > on_one { (by_host, None) } else { (on_one, Some(first.node)) };
        self.said.push(Start { job, count: u32::try_from(count).unwrap_or(u32::MAX), node });
        self.unsaid |= count < tasks.len();
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(tasks: &[(NodeId, bool)]) -> (u32, Option<NodeId>, bool) {
        let tasks: Vec<Task> = tasks.iter().map(|&(node, as_host)| Task { node, as_host }).collect();
        let mut starts = Starts::default();
        assert_eq!(starts.say(7, &tasks), starts.said[0].count as usize);
        (starts.said[0].count, starts.said[0].node, starts.unsaid)
    }

    #[test]
    fn tasks_of_one_job_are_said_with_their_node_or_left_to_the_host_where_it_would_do_the_same() {
        assert_eq!(said(&[(1, true)]), (1, Some(1), false));
        assert_eq!(said(&[(1, true), (1, true), (2, true)]), (3, None, false));
        assert_eq!(said(&[(1, true), (3, false), (3, false)]), (1, Some(1), true));
        assert_eq!(said(&[(3, false), (3, false), (4, false)]), (2, Some(3), true));
    }
}
