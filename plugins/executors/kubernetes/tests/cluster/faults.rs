//! A cluster that fails, in the ways in which clusters do. Each keeps the truth about jobs.

use std::{path::Path, time::Duration};

use berth_executor_api::{AttemptReport, AttemptState, ExecutorError, Launched, Report, Truth};
use berth_executor_kubernetes::Access;
use berth_testbed_kubernetes::Kind;
use serde_json::json;

use crate::scene::{NAMESPACE, Scene, until};

const UNTIL_GO: &str = "echo run >> trace; while [ ! -e go ]; do sleep 0.05; done; exit 4";

fn is_away(report: &Report, part: &str) -> bool {
    matches!(report, Report::Away(words) if words.contains(part))
}

fn go(launch: &berth_executor_api::Launch) {
    std::fs::write(Path::new(&launch.directory).join("go"), "").unwrap();
}

fn words(launched: Launched) -> (&'static str, String) {
    match launched {
        Launched::Taken => ("taken", String::new()),
        Launched::NoRoom { words } => ("no room", words),
        Launched::Refused { words } => ("refused", words),
    }
}

async fn launch_another(scene: &mut Scene) -> (&'static str, String) {
    let launch = scene.shell("true");
    words(scene.launch(&launch).await)
}

async fn is_unreachable(scene: &Scene, launch: &berth_executor_api::Launch) -> bool {
    let truth = scene.executor.reconcile(std::slice::from_ref(&launch.attempt)).await;
    matches!(truth, Err(ExecutorError::Unreachable { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_told_of_and_so_is_its_return() {
    let mut scene = Scene::new().await;
    let launch = scene.start_shell(UNTIL_GO).await;
    scene.running(&launch).await;
    scene.stand_in.cut_off();
    scene.report("that it is away", |report| is_away(report, "")).await;
    assert!(is_unreachable(&scene, &launch).await);
    go(&launch);
    scene.stand_in.mend().await;
    scene.report("that it is back", |report| *report == Report::Back).await;
    assert_eq!((scene.end(&launch).await.0.code, scene.runs(&launch)), (Some(4), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_not_accepted_are_told_and_read_anew() {
    let mut scene = Scene::new().await;
    let token = scene.folder().join("token");
    std::fs::write(&token, "old").unwrap();
    scene.config.access =
        Access::Server { url: scene.stand_in.url(), ca: None, token_file: Some(token.clone()) };
    scene.stand_in.accept_only("old");
    scene.again();
    let launch = scene.start_shell(UNTIL_GO).await;
    scene.running(&launch).await;
    scene.stand_in.accept_only("new");
    assert!(is_unreachable(&scene, &launch).await);
    scene.report("that Berth is a stranger", |report| is_away(report, "credentials")).await;
    std::fs::write(&token, "new").unwrap();
    scene.report("that it is back", |report| *report == Report::Back).await;
    go(&launch);
    assert_eq!(scene.end(&launch).await.0.code, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_leads_to_the_cluster() {
    let mut scene = Scene::new().await;
    scene.stand_in.accept_only("the token");
    let file = scene.stand_in.kubeconfig("the token");
    scene.config.access = Access::Kubeconfig { file: Some(file), context: None };
    scene.again();
    let launch = scene.start_shell("exit 3").await;
    assert_eq!(scene.end(&launch).await.0.code, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_gives_the_job_back_and_what_may_not_refuses_it() {
    let mut scene = Scene::new().await;
    let webhook = "admission webhook \"policy.example.org\" denied the request: no";
    for (code, message, wanted) in [
        (403, "jobs.batch \"x\" is forbidden: exceeded quota: q, requested: count/jobs.batch=1", "no room"),
        (403, "jobs.batch is forbidden: User \"berth\" cannot create resource \"jobs\"", "no room"),
        (404, "namespaces \"jobs\" not found", "no room"),
        (403, webhook, "refused"),
        (422, "Job.batch \"x\" is invalid: spec: no", "refused"),
        (400, "unknown field", "refused"),
        (413, "request is too large", "refused"),
    ] {
        scene.stand_in.refuse("POST", "/jobs", code, message);
        let launch = scene.shell("true");
        let (answer, said) = words(scene.launch(&launch).await);
        assert_eq!((answer, said.contains(message)), (wanted, true), "{code} {message}: {said}");
        assert_eq!(scene.truth(&launch).await, Truth::Absent);
    }
    assert!(scene.stand_in.all(Kind::Job).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_rights_and_namespaces_are_told_from_each_other_by_their_words() {
    let mut scene = Scene::new().await;
    scene.stand_in.job_quota(Some(0));
    let (answer, said) = launch_another(&mut scene).await;
    assert_eq!((answer, said.contains("exceeded quota")), ("no room", true), "{said}");
    scene.stand_in.job_quota(None);
    scene.stand_in.forbid("create", "jobs");
    let (answer, said) = launch_another(&mut scene).await;
    assert_eq!((answer, said.contains("cannot create")), ("no room", true), "{said}");
    scene.stand_in.no_faults();
    scene.stand_in.without_namespace(NAMESPACE);
    let (answer, said) = launch_another(&mut scene).await;
    assert_eq!((answer, said.contains("namespaces \"jobs\" not found")), ("no room", true), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_the_same_name_that_is_not_berths_is_left_alone() {
    let mut scene = Scene::new().await;
    let launch = scene.shell("true");
    let theirs = json!({ "metadata": { "name": launch.attempt.as_str(), "namespace": NAMESPACE }, "spec": { "suspend": true, "template": {} } });
    scene.stand_in.put(Kind::Job, theirs);
    let (answer, said) = words(scene.launch(&launch).await);
    assert_eq!((answer, said.contains("not Berth's")), ("refused", true), "{said}");
    assert_eq!(scene.executor.cleanup(false).await.unwrap(), Vec::<String>::new());
    assert_eq!(scene.stand_in.all(Kind::Job).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_made_though_the_answer_was_a_failure_is_taken_and_runs_once() {
    let mut scene = Scene::new().await;
    for code in [500, 503] {
        scene.stand_in.fail_after_doing("POST", "/jobs", code, 1);
        let launch = scene.start_shell("echo run >> trace; exit 4").await;
        assert_eq!((scene.end(&launch).await.0.code, scene.runs(&launch)), (Some(4), 1), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_before_anything_was_done_leaves_it_unknown_and_then_absent() {
    let mut scene = Scene::new().await;
    scene.stand_in.fail("POST", "/jobs", 500, 1);
    let launch = scene.shell("exit 4");
    let error = scene.executor.launch(std::slice::from_ref(&launch)).await.unwrap_err();
    assert!(matches!(error, ExecutorError::Unreachable { .. }), "{error}");
    assert_eq!(scene.truth(&launch).await, Truth::Absent);
    scene.start(&launch).await;
    assert_eq!(scene.end(&launch).await.0.code, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_too_busy_is_asked_again_when_it_says() {
    let mut scene = Scene::new().await;
    scene.stand_in.too_busy("POST", "/jobs", 2, 1);
    let launch = scene.start_shell("exit 4").await;
    assert_eq!(scene.end(&launch).await.0.code, Some(4));
    let posts = scene.stand_in.requests().iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(posts, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_is_not_waited_for_for_ever() {
    let mut scene = Scene::with(|config| config.answer_within = Duration::from_secs(1)).await;
    let launch = scene.start_shell(UNTIL_GO).await;
    scene.running(&launch).await;
    scene.stand_in.hang("GET", "/jobs?&labelSelector", 1);
    scene.stand_in.hang("GET", "/jobs?labelSelector", 1);
    assert!(is_unreachable(&scene, &launch).await);
    scene.stand_in.no_faults();
    go(&launch);
    assert_eq!(scene.end(&launch).await.0.code, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_break_off_in_the_middle_of_a_line_go_on_where_they_were() {
    let mut scene = Scene::new().await;
    let launch = scene.start_shell(UNTIL_GO).await;
    scene.running(&launch).await;
    let lists = |scene: &Scene| {
        let is_list = |line: &&String| line.contains("limit=500") && !line.contains("watch=");
        scene.stand_in.requests().iter().filter(is_list).count()
    };
    let before = lists(&scene);
    for _ in 0..3 {
        scene.stand_in.cut_streams();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    go(&launch);
    assert_eq!((scene.end(&launch).await.0.code, scene.runs(&launch)), (Some(4), 1));
    assert_eq!(lists(&scene), before, "nothing had to be listed anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_too_old_to_go_on_lists_everything_anew() {
    let mut scene = Scene::new().await;
    let launch = scene.start_shell(UNTIL_GO).await;
    scene.running(&launch).await;
    scene.stand_in.cut_off();
    scene.report("that it is away", |report| is_away(report, "")).await;
    go(&launch);
    let job = launch.attempt.as_str();
    scene.stand_in.pod_of(job, |pod| pod["status"]["phase"] == "Failed").await;
    scene.stand_in.forget_history();
    scene.stand_in.mend().await;
    assert_eq!(scene.end(&launch).await.0.code, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_is_told_by_name() {
    let mut scene = Scene::new().await;
    scene.stand_in.forbid("list", "pods");
    scene.again();
    scene.report("which right is missing", |report| is_away(report, "pods")).await;
    scene.stand_in.no_faults();
    scene.report("that it is there now", |report| *report == Report::Back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_somebody_removes_is_asked_about_and_absent() {
    let mut scene = Scene::new().await;
    let launch = scene.start_shell(UNTIL_GO).await;
    scene.running(&launch).await;
    scene.stand_in.remove(Kind::Job, NAMESPACE, launch.attempt.as_str());
    scene.report("a question", |report| *report == Report::Back).await;
    assert_eq!(scene.truth(&launch).await, Truth::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_the_server_fails_can_be_asked_again() {
    let mut scene = Scene::new().await;
    let launch = scene.start_shell(UNTIL_GO).await;
    scene.running(&launch).await;
    scene.stand_in.fail("PATCH", "/jobs/", 500, 1);
    let stop = berth_executor_api::Action::Terminate { grace: Duration::ZERO };
    let error = scene.executor.control(&launch.attempt, stop).await.unwrap_err();
    assert!(matches!(error, ExecutorError::Unreachable { .. }), "{error}");
    assert!(matches!(
        scene.truth(&launch).await,
        Truth::Known(AttemptReport { state: AttemptState::Running, .. })
    ));
    scene.executor.control(&launch.attempt, stop).await.unwrap();
    assert!(!scene.end(&launch).await.0.before_stop);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_jobs_than_a_page_holds_are_all_known() {
    let mut scene = Scene::new().await;
    scene.stand_in.asleep();
    let launches: Vec<_> = (0..520).map(|_| scene.shell("true")).collect();
    let answers = scene.executor.launch(&launches).await.unwrap();
    assert!(answers.iter().all(|answer| *answer == Launched::Taken));
    until("all of them", async || scene.executor.attempts().await.unwrap().len() == 520).await;
    let attempts: Vec<_> = launches.iter().map(|launch| launch.attempt.clone()).collect();
    let truths = scene.executor.reconcile(&attempts).await.unwrap();
    let known = truths
        .iter()
        .zip(&attempts)
        .all(|(truth, attempt)| matches!(truth, Truth::Known(report) if report.attempt == *attempt));
    assert!(known);
}
