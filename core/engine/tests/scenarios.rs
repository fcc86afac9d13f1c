//! What the engine does, one situation at a time.

mod site;

use std::time::Duration;

use berth_engine::{Actor, Answer, Command, Input, Refusal, Reported, ReportedState};
use berth_model::{Attempt, Dependency, DependencyKind, EventKind, JobId, JobSpec, StateKind, UtcMs};
use site::{Manner, Site, after, array, cpus, job, name};

fn first() -> Attempt {
    Attempt { number: 1, returned: 0 }
}

fn on(on: JobId, kind: DependencyKind) -> Vec<Dependency> {
    vec![Dependency { on, kind }]
}

fn ada() -> Actor {
    Actor { name: "ada".into(), administrator: false }
}

#[test]
fn a_job_runs_once_and_ends_with_its_code() {
    let mut site = Site::with_nodes(&[2]);
    let job = site.submit(job());
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Running);
    site.run_dry(0);
    assert_eq!(site.state(job), StateKind::Succeeded);
    assert_eq!(site.back_end.runs[&(job, 1)], 1);
    assert!(site.back_end.running().is_empty());
}

#[test]
fn what_does_not_fit_waits_and_says_why() {
    let mut site = Site::with_nodes(&[2]);
    let running = site.submit(cpus(2));
    let waiting = site.submit(cpus(1));
    site.settle_all();
    assert_eq!((site.state(running), site.state(waiting)), (StateKind::Running, StateKind::Pending));
    let words = site.engine.view(waiting).unwrap().reasons[0].to_string();
    assert_eq!(
        words,
        "no room: it needs 1 CPU; fake/n0 comes nearest and has 0 CPU, 64G memory free of 2 CPU, 64G memory"
    );
    site.run_dry(0);
    assert_eq!(site.state(waiting), StateKind::Succeeded);
}

#[test]
fn what_a_job_waited_for_is_not_said_of_it_when_it_runs_but_that_its_node_is_away_is() {
    let mut site = Site::with_nodes(&[2]);
    let job = site.submit(job());
    site.settle_all();
    let mut say = |state, words: Option<&str>| {
        site.feed(Input::Reported(Reported {
            executor: "fake".into(),
            job,
            attempt: first(),
            state,
            at: UtcMs(1),
            cpu_micros: None,
            memory_peak_bytes: None,
            message: words.map(str::to_owned),
        }));
        site.store.note(job)
    };
    assert_eq!(say(ReportedState::Starting, Some("pulls its image")).as_deref(), Some("pulls its image"));
    assert_eq!(say(ReportedState::Running, None), None);
    assert_eq!(say(ReportedState::Running, Some("unreachable")).as_deref(), Some("unreachable"));
    assert_eq!(say(ReportedState::Running, None), None);
}

#[test]
fn what_can_never_fit_is_refused_with_the_largest_node() {
    let mut site = Site::with_nodes(&[2, 8]);
    let refused = site.try_submit(cpus(9)).unwrap_err();
    assert!(matches!(refused, Refusal::TooLarge { largest, .. } if largest.cpu_millis == 8000), "{refused}");
    assert!(site.store.jobs().next().is_none(), "nothing is stored");
}

#[test]
fn an_array_of_a_million_costs_little_until_it_starts() {
    let mut site = Site::with_nodes(&[2]);
    let array = site.submit(array("1-1000000"));
    site.settle_all();
    assert_eq!(site.engine.live_jobs(), 3, "the array and the two tasks that run");
    assert_eq!(site.store.tasks(array).count(), 2);
    let next = site.submit(job());
    assert_eq!(next, JobId(array.0 + 1_000_001), "every task has a number reserved");
}

#[test]
fn an_array_runs_each_index_once_within_its_bound() {
    let mut site = Site::with_nodes(&[8]);
    let array = site.submit(array("30-36%3"));
    site.settle_all();
    assert_eq!(site.back_end.running().len(), 3);
    site.run_dry(0);
    assert_eq!(site.state(array), StateKind::Succeeded);
    let ran: Vec<u64> = site.store.tasks(array).map(|task| 30 + task.task_of.unwrap().1).collect();
    assert_eq!(ran, [30, 31, 32, 33, 34, 35, 36]);
    assert!(site.back_end.runs.values().all(|&runs| runs == 1));
}

#[test]
fn an_array_fails_with_the_highest_code_of_its_tasks() {
    let mut site = Site::with_nodes(&[2]);
    let array = site.submit(array("1-2"));
    site.settle_all();
    let running = site.back_end.running();
    for (name, code) in running.iter().zip([3, 7]) {
        let reports = site.back_end.finish(name, code, site.now);
        site.inbox.extend(reports);
    }
    site.settle_all();
    assert_eq!(site.state(array), StateKind::Failed);
    assert_eq!(site.store.job(array).unwrap().moving.exit_code, Some(7));
}

#[test]
fn killing_an_array_kills_its_tasks_and_starts_no_more() {
    let mut site = Site::with_nodes(&[2]);
    let array = site.submit(array("1-100"));
    site.settle_all();
    site.kill(array).unwrap();
    site.settle_all();
    assert_eq!(site.state(array), StateKind::Killed);
    assert_eq!(site.store.tasks(array).count(), 2);
    assert!(site.store.tasks(array).all(|task| task.moving.state.kind() == StateKind::Killed));
}

#[test]
fn a_task_killed_before_its_turn_never_runs() {
    let mut site = Site::with_nodes(&[1]);
    let array = site.submit(array("1-3"));
    site.settle_all();
    let second = JobId(array.0 + 2);
    site.kill(second).unwrap();
    site.run_dry(0);
    assert_eq!(site.state(second), StateKind::Killed);
    assert!(!site.back_end.runs.contains_key(&(second, 1)));
    assert_eq!(site.state(array), StateKind::Failed, "one of its tasks did not succeed");
}

#[test]
fn dependents_start_when_theirs_has_ended_as_wanted() {
    let mut site = Site::with_nodes(&[4]);
    let base = site.submit(job());
    let ok = site.submit(after(on(base, DependencyKind::AfterOk)));
    let any = site.submit(after(on(base, DependencyKind::AfterAny)));
    let not_ok = site.submit(after(on(base, DependencyKind::AfterNotOk)));
    site.settle_all();
    for waiting in [ok, any, not_ok] {
        assert_eq!(site.state(waiting), StateKind::Held);
    }
    site.run_dry(0);
    assert_eq!(site.state(ok), StateKind::Succeeded);
    assert_eq!(site.state(any), StateKind::Succeeded);
    assert_eq!(site.state(not_ok), StateKind::Rejected, "it can no longer be met");
}

#[test]
fn a_chain_of_dependents_falls_with_its_first() {
    let mut site = Site::with_nodes(&[4]);
    let base = site.submit(job());
    let second = site.submit(after(on(base, DependencyKind::AfterOk)));
    let third = site.submit(after(on(second, DependencyKind::AfterOk)));
    site.run_dry(1);
    assert_eq!(site.state(second), StateKind::Rejected);
    assert_eq!(site.state(third), StateKind::Rejected);
}

#[test]
fn a_dependency_on_what_does_not_exist_is_refused() {
    let mut site = Site::with_nodes(&[1]);
    let refused = site.try_submit(after(on(JobId(99), DependencyKind::AfterOk)));
    assert_eq!(refused, Err(Refusal::UnknownDependency(JobId(99))));
}

#[test]
fn a_dependency_on_a_task_that_has_not_begun_is_kept() {
    let mut site = Site::with_nodes(&[1]);
    let array = site.submit(array("1-5"));
    let last = JobId(array.0 + 5);
    let waiting = site.submit(after(on(last, DependencyKind::AfterOk)));
    let barred = site.submit(after(on(JobId(array.0 + 4), DependencyKind::AfterOk)));
    site.kill(JobId(array.0 + 4)).unwrap();
    site.run_dry(0);
    assert_eq!(site.state(waiting), StateKind::Succeeded);
    assert_eq!(site.state(barred), StateKind::Rejected);
}

#[test]
fn a_held_job_waits_until_it_is_released() {
    let mut site = Site::with_nodes(&[1]);
    let job = site.submit(JobSpec { hold: true, ..job() });
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Held);
    site.command(Command::Release { job, by: ada() }).unwrap();
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Running);
}

#[test]
fn a_user_does_not_release_what_an_administrator_holds() {
    let mut site = Site::with_nodes(&[1]);
    let job = site.submit(JobSpec { hold: true, ..job() });
    let admin = Actor { name: "root".into(), administrator: true };
    site.command(Command::Hold { job, by: admin.clone() }).unwrap();
    assert!(matches!(site.command(Command::Release { job, by: ada() }), Err(Refusal::State { .. })));
    site.command(Command::Release { job, by: admin }).unwrap();
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Running);
}

#[test]
fn a_held_array_starts_no_further_task_and_goes_on_when_released() {
    let mut site = Site::with_nodes(&[1]);
    let array = site.submit(array("1-3"));
    site.settle_all();
    site.command(Command::Hold { job: array, by: ada() }).unwrap();
    let reports = site.back_end.finish_all(0, site.now);
    site.inbox.extend(reports);
    site.settle_all();
    assert!(site.back_end.running().is_empty());
    assert_eq!(site.state(array), StateKind::Held);
    site.command(Command::Release { job: array, by: ada() }).unwrap();
    site.run_dry(0);
    assert_eq!(site.state(array), StateKind::Succeeded);
}

#[test]
fn a_begin_time_is_waited_for() {
    let mut site = Site::with_nodes(&[1]);
    let begin = UtcMs(site.now.0 + 60_000);
    let job = site.submit(JobSpec { begin: Some(begin), ..job() });
    site.advance(Duration::from_secs(59));
    assert_eq!(site.state(job), StateKind::Held);
    site.advance(Duration::from_secs(1));
    assert_eq!(site.state(job), StateKind::Running);
}

#[test]
fn a_time_limit_ends_a_job() {
    let mut site = Site::with_nodes(&[1]);
    let job = site.submit(JobSpec { time_limit: Some(Duration::from_secs(60)), ..job() });
    site.settle_all();
    site.advance(Duration::from_secs(59));
    assert_eq!(site.state(job), StateKind::Running);
    site.advance(Duration::from_secs(2));
    assert_eq!(site.state(job), StateKind::Killed);
}

#[test]
fn no_room_in_the_back_end_is_no_end_and_gives_a_new_name() {
    let mut site = Site::with_nodes(&[1]);
    site.back_end.full = true;
    let job = site.submit(job());
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Pending);
    assert_eq!(site.store.attempt(job), Attempt { number: 1, returned: 1 });
    site.back_end.full = false;
    site.advance(Duration::from_secs(1));
    assert_eq!(site.state(job), StateKind::Running);
    assert_eq!(site.back_end.runs[&(job, 1)], 1);
}

#[test]
fn a_lost_answer_is_asked_about_and_the_job_runs_once() {
    let mut site = Site::with_nodes(&[1]);
    site.back_end.mute = true;
    let job = site.submit(job());
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Running);
    assert_eq!(site.back_end.runs[&(job, 1)], 1);
}

#[test]
fn a_failed_node_is_retried_as_often_as_was_asked() {
    let mut site = Site::with_nodes(&[1]);
    let job = site.submit(JobSpec { retry_on_node_failure: 1, ..job() });
    site.settle_all();
    let lose = |site: &mut Site| {
        let running = site.back_end.running();
        let reports = site.back_end.lose(&running[0], site.now);
        site.inbox.extend(reports);
        site.settle_all();
    };
    lose(&mut site);
    assert_eq!(site.state(job), StateKind::Running);
    assert_eq!(site.store.attempt(job).number, 2);
    lose(&mut site);
    assert_eq!(site.state(job), StateKind::Failed);
}

#[test]
fn a_rerun_is_a_new_attempt_of_the_same_job() {
    let mut site = Site::with_nodes(&[1]);
    let job = site.submit(job());
    site.run_dry(1);
    assert_eq!(site.rerun(job), Ok(Answer::Done));
    site.run_dry(0);
    assert_eq!(site.state(job), StateKind::Succeeded);
    assert_eq!(site.back_end.runs, [((job, 1), 1), ((job, 2), 1)].into());
}

#[test]
fn a_running_job_is_stopped_before_it_runs_again() {
    let mut site = Site::with_nodes(&[1]);
    let job = site.submit(job());
    site.settle_all();
    site.rerun(job).unwrap();
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Running);
    assert_eq!(site.store.attempt(job).number, 2);
    assert_eq!(site.back_end.running(), [name(job, Attempt { number: 2, returned: 0 })]);
}

#[test]
fn a_task_of_an_ended_array_runs_again_alone() {
    let mut site = Site::with_nodes(&[1]);
    let array = site.submit(array("5-6"));
    site.run_dry(1);
    let task = JobId(array.0 + 2);
    site.rerun(task).unwrap();
    site.run_dry(0);
    assert_eq!(site.state(task), StateKind::Succeeded);
    assert_eq!(site.state(array), StateKind::Failed, "its end stands");
}

#[test]
fn a_task_killed_ahead_and_run_again_skips_none_of_its_sisters() {
    let mut site = Site::with_nodes(&[1]);
    let array = site.submit(array("1-5"));
    site.settle_all();
    let last = JobId(array.0 + 5);
    site.kill(last).unwrap();
    site.rerun(last).unwrap();
    site.run_dry(0);
    assert_eq!(site.state(array), StateKind::Succeeded);
    assert_eq!(site.store.tasks(array).count(), 5);
    let ran: Vec<u32> = site.back_end.runs.values().copied().collect();
    assert_eq!(ran, [1, 1, 1, 1, 1], "each of the five once");
}

#[test]
fn suspend_and_resume_follow_what_the_executor_confirms() {
    let mut site = Site::with_nodes(&[1]);
    let job = site.submit(job());
    site.settle_all();
    assert_eq!(site.command(Command::Suspend { job }), Ok(Answer::Asked));
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Suspended);
    assert_eq!(site.command(Command::Resume { job }), Ok(Answer::Asked));
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Running);
}

#[test]
fn what_does_not_run_cannot_be_suspended() {
    let mut site = Site::with_nodes(&[1]);
    let running = site.submit(job());
    let pending = site.submit(job());
    let array = site.submit(array("1-2"));
    site.settle_all();
    for refused in [pending, array] {
        assert!(matches!(site.command(Command::Suspend { job: refused }), Err(Refusal::State { .. })));
    }
    site.run_dry(0);
    assert_eq!(site.command(Command::Suspend { job: running }), Err(Refusal::NotLive(running)));
}

#[test]
fn an_executor_that_is_away_holds_jobs_up_with_its_words() {
    let mut site = Site::with_nodes(&[1]);
    site.feed(Input::Away { executor: "fake".into(), words: "connection refused".into() });
    let job = site.submit(job());
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Pending);
    let words = site.engine.view(job).unwrap().reasons[0].to_string();
    assert_eq!(words, "executor fake cannot be reached: connection refused");
    site.feed(Input::Back { executor: "fake".into() });
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Running);
}

#[test]
fn a_crash_between_decision_and_launch_launches_once() {
    let mut site = Site::with_nodes(&[1]);
    let job = site.submit(job());
    let plan = site.inbox.remove(0);
    site.crash(Some(plan), true, 0);
    assert_eq!(site.state(job), StateKind::Starting);
    assert!(site.back_end.runs.is_empty());
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Running);
    assert_eq!(site.back_end.runs[&(job, 1)], 1);
}

#[test]
fn a_crash_after_the_launch_adopts_what_runs() {
    let mut site = Site::with_nodes(&[1]);
    let job = site.submit(job());
    let plan = site.inbox.remove(0);
    site.crash(Some(plan), true, usize::MAX);
    let reports = site.back_end.finish(&name(job, first()), 3, site.now);
    drop(reports);
    site.crash(None, true, 0);
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Failed);
    assert_eq!(site.store.job(job).unwrap().moving.exit_code, Some(3));
    assert_eq!(site.back_end.runs[&(job, 1)], 1);
}

#[test]
fn what_the_back_end_took_and_forgot_is_lost_and_not_run_again() {
    let mut site = Site::with_nodes(&[1]);
    let job = site.submit(job());
    site.settle_all();
    site.back_end.vanish(&name(job, first()));
    site.crash(None, true, 0);
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Lost);
    assert_eq!(site.back_end.runs[&(job, 1)], 1);
}

#[test]
fn a_truth_that_comes_after_lost_is_kept_in_the_history() {
    let mut site = Site::with_nodes(&[1]);
    let job = site.submit(job());
    site.settle_all();
    let truth = site.back_end.finish(&name(job, first()), 0, site.now);
    let lost = berth_engine::Reconciled::Uncertain("nobody knows".into());
    site.feed(Input::Back { executor: "fake".into() });
    site.inbox.clear();
    site.feed(Input::Reconciled { job, attempt: first(), truth: lost });
    site.inbox.extend(truth);
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Lost);
    let late = |(of, kind): &(JobId, EventKind)| *of == job && matches!(kind, EventKind::LateNews { .. });
    assert_eq!(site.store.history.iter().filter(|entry| late(entry)).count(), 1);
}

#[test]
fn a_breach_drops_the_whole_plan_and_tells_everything_anew() {
    for manner in [Manner::Twice, Manner::Unknown, Manner::Greedy, Manner::TooMany] {
        let mut site = Site::with_nodes(&[2]);
        let jobs = [job(), job(), job(), job()].map(|job| site.submit(job));
        site.policy.manner = manner;
        site.settle_all();
        assert_eq!(site.breaches.len(), 1, "{manner:?}");
        let running = jobs.map(|job| site.state(job) == StateKind::Running);
        assert_eq!(running, [true, true, false, false], "{manner:?}: rebuilt, the policy starts what fits");
    }
}

#[test]
fn an_array_that_the_policy_refuses_after_it_began_ends_as_a_whole() {
    let mut site = Site::with_nodes(&[1]);
    let array = site.submit(array("1-3"));
    site.settle_all();
    assert_eq!(site.state(array), StateKind::Running);
    site.policy.manner = Manner::Rejects;
    let other = site.submit(job());
    site.run_dry(0);
    assert_eq!(site.state(other), StateKind::Rejected);
    let berth_model::JobState::Ended { end } = site.store.state(array).unwrap() else {
        panic!("the array goes on")
    };
    assert_eq!(end.to_string(), "killed by the scheduler: not today");
    assert!(site.back_end.running().is_empty());
}

#[test]
fn a_policy_that_cannot_answer_is_asked_again_later() {
    let mut site = Site::with_nodes(&[1]);
    site.policy.manner = Manner::Fails;
    let job = site.submit(job());
    site.settle_all();
    assert_eq!(site.state(job), StateKind::Pending);
    site.advance(Duration::from_secs(1));
    assert_eq!(site.state(job), StateKind::Running);
}

#[test]
fn short_tasks_are_sent_ahead_and_run_in_the_room_there_is() {
    let mut site = Site::that_queues(2);
    let array = site.submit(array("1-200"));
    site.settle_all();
    let mut most_known = 0;
    for _ in 0..100 {
        let known = site.store.tasks(array).filter(|task| !task.moving.state.kind().is_end()).count();
        most_known = most_known.max(known);
        assert!(site.back_end.running().len() <= 2, "the back end keeps the others");
        let reports = site.back_end.finish_all(0, site.now);
        site.inbox.extend(reports);
        site.settle_all();
    }
    assert!(most_known > 10, "only {most_known} at once");
    site.run_dry(0);
    assert_eq!(site.state(array), StateKind::Succeeded);
    assert!(site.back_end.runs.values().all(|&runs| runs == 1));
    assert_eq!(site.back_end.runs.len(), 200);
}

#[test]
fn no_plan_is_asked_for_while_sisters_take_the_room_over() {
    let mut site = Site::that_queues(2);
    let array = site.submit(array("1-400"));
    let mut plans = Vec::new();
    while site.state(array) != StateKind::Succeeded {
        site.settle_all();
        plans.push(site.policy.asked);
        let reports = site.back_end.finish_all(0, site.now);
        site.inbox.extend(reports);
    }
    let without = plans.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!(without > 150, "of {} steps only {without} went without a plan", plans.len());
}

#[test]
fn a_plan_is_asked_for_when_the_room_was_not_a_sisters() {
    let mut site = Site::that_queues(2);
    let other = site.submit(job());
    let array = site.submit(array("1-400"));
    let tasks_end = |site: &mut Site| {
        site.settle_all();
        for one in site.back_end.running().into_iter().filter(|one| *one != name(other, first())) {
            let reports = site.back_end.finish(&one, 0, site.now);
            site.inbox.extend(reports);
        }
        site.settle_all();
    };
    let mut asked = 0;
    for _ in 0..20 {
        asked = site.policy.asked;
        tasks_end(&mut site);
    }
    assert_eq!(site.policy.asked, asked, "sisters follow each other");
    let reports = site.back_end.finish(&name(other, first()), 0, site.now);
    site.inbox.extend(reports);
    site.settle_all();
    assert!(site.policy.asked > asked);
    site.run_dry(0);
    assert_eq!(site.state(array), StateKind::Succeeded);
}

#[test]
fn what_a_crash_kept_from_being_forgotten_is_forgotten_at_the_next_start() {
    let mut site = Site::with_nodes(&[1]);
    let job = site.submit(job());
    site.settle_all();
    let ended = site.back_end.finish_all(0, site.now).remove(0);
    site.crash(Some(ended), true, 0);
    assert_eq!(site.state(job), StateKind::Succeeded);
    assert_eq!(site.back_end.attempts().len(), 1, "nobody has said that it may be forgotten");
    site.settle_all();
    assert_eq!(site.back_end.attempts(), []);
}

#[test]
fn long_tasks_are_not_sent_ahead() {
    let mut site = Site::that_queues(2);
    let array = site.submit(array("1-20"));
    for _ in 0..8 {
        site.settle_all();
        let live = site.store.tasks(array).filter(|task| !task.moving.state.kind().is_end()).count();
        assert_eq!(live, 2);
        site.now = site.now.after(Duration::from_secs(5));
        let reports = site.back_end.finish_all(0, site.now);
        site.inbox.extend(reports);
    }
}

#[test]
fn what_was_sent_ahead_can_be_killed_and_leaves_the_books_right() {
    let mut site = Site::that_queues(1);
    let array = site.submit(array("1-100"));
    for _ in 0..10 {
        site.settle_all();
        let reports = site.back_end.finish_all(0, site.now);
        site.inbox.extend(reports);
    }
    site.settle_all();
    site.kill(array).unwrap();
    site.settle_all();
    assert_eq!(site.state(array), StateKind::Killed);
    let next = site.submit(job());
    site.settle_all();
    assert_eq!(site.state(next), StateKind::Running, "all room has been given back");
}
