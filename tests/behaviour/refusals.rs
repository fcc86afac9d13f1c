//! What makes no sense is refused at once, with the place and the reason, and nothing of it is stored.

use berth_api::{CommandText, ErrorCode, Submit};

use crate::harness::{Berth, said, said_with, sh};

async fn nothing_is_stored(berth: &Berth) {
    assert_eq!(berth.all_jobs().await, []);
    assert_eq!(berth.submit_job(sh("true")).await, 1, "no number was used up");
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused_with_line_and_column() {
    let berth = Berth::start().await;
    let answer = berth.post_job("application/json", "{\n  \"name\": \"x\",\n  \"cpus\": }").await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("line 3, column"), "{answer:?}");
    let answer =
        berth.post_job("application/json", "{\"name\": 7, \"command\": {\"argv\": [\"true\"]}}").await;
    assert_eq!((answer.status, &answer.json()["problems"][0]["field"]), (400, &"name".into()), "{answer:?}");
    for body in ["", "null", "[]", "7", "\"job\"", "{\"command\": \"true\"}", "\u{0}"] {
        let answer = berth.post_job("application/json", body).await;
        assert_eq!(answer.status, 400, "{body:?}: {answer:?}");
        assert_eq!(answer.json()["code"], "invalid");
    }
    nothing_is_stored(&berth).await;
}

#[tokio::test]
async fn an_unknown_field_is_refused_with_the_nearest_one() {
    let berth = Berth::start().await;
    let answer =
        berth.post_job("application/json", r#"{"command": {"argv": ["true"]}, "memroy": "1G"}"#).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("memroy") && answer.body.contains("memory"), "{answer:?}");
    let answer = berth.post_job("text/csv", "a,b").await;
    assert_eq!(answer.status, 415, "{answer:?}");
    nothing_is_stored(&berth).await;
}

#[tokio::test]
async fn each_malformed_value_is_named_at_its_field_all_at_once() {
    let berth = Berth::start().await;
    let job = Submit {
        cpus: Some("two".into()),
        memory: Some("4 parsecs".into()),
        time: Some("soon".into()),
        grace: Some("-1s".into()),
        array: Some("9-1".into()),
        begin: Some("yesterday-ish".into()),
        volumes: vec!["/etc:rw".into()],
        ports: vec![0],
        workdir: Some("relative".into()),
        ..sh("true")
    };
    let refused = berth.refusal(job).await;
    assert_eq!(refused.code, ErrorCode::Invalid);
    let fields: Vec<&str> = refused.problems.iter().map(|problem| problem.field.as_str()).collect();
    for field in ["cpus", "memory", "time", "grace", "array", "begin", "volumes", "ports", "workdir"] {
        assert!(fields.contains(&field), "{field}: {refused}");
    }
    nothing_is_stored(&berth).await;
}

#[tokio::test]
async fn malformed_quantities_and_ranges_are_refused_one_by_one() {
    let berth = Berth::start().await;
    let cases: Vec<(&str, Submit)> = vec![
        ("cpus", Submit { cpus: Some("-1".into()), ..sh("true") }),
        ("cpus", Submit { cpus: Some("1e3".into()), ..sh("true") }),
        ("cpus", Submit { cpus: Some("99999999999999999999".into()), ..sh("true") }),
        ("memory", Submit { memory: Some("1X".into()), ..sh("true") }),
        ("memory", Submit { memory: Some("99999999999P".into()), ..sh("true") }),
        ("time", Submit { time: Some("0s".into()), ..sh("true") }),
        ("array", Submit { array: Some("1-".into()), ..sh("true") }),
        ("array", Submit { array: Some("1-10:0".into()), ..sh("true") }),
        ("array", Submit { array: Some("1-10%0".into()), ..sh("true") }),
        ("array", Submit { array: Some("1-1000001".into()), ..sh("true") }),
        ("array", Submit { array: Some("0-18446744073709551615".into()), ..sh("true") }),
        ("command", Submit::default()),
        ("command", Submit { command: Some(CommandText::Argv(vec![])), ..Submit::default() }),
        ("command", Submit { command: Some(CommandText::Argv(vec!["a\0b".into()])), ..Submit::default() }),
        ("name", Submit { name: Some("a\u{1b}[2J".into()), ..sh("true") }),
        ("env", Submit { env: [("A=B".to_owned(), "c".to_owned())].into(), ..sh("true") }),
    ];
    for (field, job) in cases {
        let shown = format!("{job:?}");
        let refused = berth.refusal(job).await;
        assert!(refused.problems.iter().any(|problem| problem.field == field), "{shown}: {refused}");
    }
    nothing_is_stored(&berth).await;
}

#[tokio::test]
async fn asking_for_more_than_any_node_has_is_refused_with_the_largest() {
    let berth = Berth::with(|setup| {
        setup.executors =
            "[executors.local]\ncpus = 3\nmemory = \"2G\"\nlabels = { disk = \"ssd\" }\n".into();
    })
    .await;
    let refused = berth.refusal(Submit { cpus: Some("4".into()), ..sh("true") }).await;
    assert_eq!(refused.code, ErrorCode::Unable);
    assert!(
        refused.message.contains("can ever hold 4 CPU") && refused.message.contains("3 CPU"),
        "{refused}"
    );
    let refused = berth.refusal(Submit { memory: Some("3G".into()), ..sh("true") }).await;
    assert!(refused.message.contains("2G"), "{refused}");
    let refused = berth.refusal(Submit { gpus: Some(1), ..sh("true") }).await;
    assert_eq!(refused.code, ErrorCode::Unable, "{refused}");
    let elsewhere = Submit { constraints: [("disk".to_owned(), "tape".to_owned())].into(), ..sh("true") };
    let refused = berth.refusal(elsewhere).await;
    assert!(refused.message.contains("disk") && refused.message.contains("tape"), "{refused}");
    let refused =
        berth.refusal(Submit { array: Some("1-10".into()), cpus: Some("64".into()), ..sh("true") }).await;
    assert_eq!(refused.code, ErrorCode::Unable);
    nothing_is_stored(&berth).await;
}

#[tokio::test]
async fn what_the_executor_cannot_do_is_refused_with_its_name() {
    let berth = Berth::start().await;
    for job in [
        Submit { image: Some("alpine".into()), ..sh("true") },
        Submit { ports: vec![80], ..sh("true") },
        Submit { interactive: true, ..sh("true") },
    ] {
        let refused = berth.refusal(job).await;
        assert_eq!(refused.code, ErrorCode::Unable);
        assert!(refused.message.contains("executor local cannot"), "{refused}");
    }
    let refused = berth.refusal(Submit { executor: Some("docker".into()), ..sh("true") }).await;
    assert!(refused.message.contains("\"docker\" is not configured; there are local"), "{refused}");
    nothing_is_stored(&berth).await;
}

#[tokio::test]
async fn a_script_of_10_mib_is_refused_with_the_limit() {
    let berth = Berth::start().await;
    let script = format!("#!/bin/sh\n#{}\n", "x".repeat(10 << 20));
    let path = berth.write("huge.sh", &script);
    let words = berth.cli(["submit", path.to_str().unwrap()]).await.refused(2);
    assert!(words.contains("10M") && words.contains("4M") && words.contains("script-limit"), "{words}");
    nothing_is_stored(&berth).await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    let berth = Berth::start().await;
    let answer = berth.post_job("application/json", &"x".repeat(13 << 20)).await;
    assert_eq!((answer.status, &answer.json()["code"]), (413, &"too-large".into()), "{answer:?}");
    assert!(answer.body.contains("12M"), "{answer:?}");
    nothing_is_stored(&berth).await;
}

#[tokio::test]
async fn a_job_file_with_a_mistake_is_refused_at_its_line() {
    let berth = Berth::start().await;
    for (name, text, place) in [
        ("job.toml", "name = \"x\"\ncpus = = 2\n", ":2:"),
        ("job.toml", "name = \"x\"\nmemroy = \"1G\"\n[command]\nargv = [\"true\"]\n", ":2:"),
        ("job.json", "{\n\"name\": \"x\",\n\"cpus\": ,\n}", ":3:"),
    ] {
        let path = berth.write(name, text);
        let words = berth.cli(["submit", "-f", path.to_str().unwrap()]).await.refused(2);
        assert!(words.contains(&format!("{name}{place}")), "{words}");
    }
    nothing_is_stored(&berth).await;
}

#[tokio::test]
async fn toml_over_http_is_refused_at_its_line() {
    let berth = Berth::start().await;
    let answer = berth.post_job("application/toml", "name = \"x\"\ncpus = 7 7\n").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("line 2"), "{answer:?}");
    nothing_is_stored(&berth).await;
}

#[tokio::test]
async fn a_malformed_header_line_is_refused_at_its_place() {
    let berth = Berth::start().await;
    let path = berth.write("job.sh", "#!/bin/sh\n#BERTH --name fine\n#BERTH --cpus many\ntrue\n");
    let words = berth.cli(["submit", path.to_str().unwrap()]).await.refused(2);
    assert!(words.contains("job.sh:3:") && words.contains("many") && words.contains('^'), "{words}");
    let words =
        said_with(berth.command(["submit", "-"]), b"#BERTH --no-such-option\ntrue\n").await.refused(2);
    assert!(words.contains("standard input:1:") && words.contains("--no-such-option"), "{words}");
    nothing_is_stored(&berth).await;
}

#[tokio::test]
async fn options_that_make_no_sense_never_reach_the_server() {
    let berth = Berth::without_server();
    for args in [
        ["submit", "--cpus", "lots", "--", "true"],
        ["submit", "--array", "5-1", "--", "true"],
        ["submit", "--memory", "1 elephant", "--", "true"],
        ["submit", "--after-ok", "x", "--", "true"],
    ] {
        let words = said(berth.lone_command(args)).await.refused(2);
        assert!(words.contains(args[1]) && words.contains(args[2]), "{words}");
    }
}
