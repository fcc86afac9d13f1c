//! Sample jobs for filters.

use berth_model::Identity;

use super::{
    CheckReport, SAMPLE_USER,
    others::{NOW, opened},
};
use crate::{
    AdmitRequest, Field, Loaded, Occasion,
    admit::sound,
    bindings::v0_1_0::admit::{AdmitPolicy, Request},
    instance::Instance,
};

pub(super) fn check(loaded: &Loaded, report: &mut CheckReport) {
    let Some(mut policy) = opened::<AdmitPolicy>(loaded, report) else { return };
    let changeable = ["priority", "project", "cpus", "memory", "gpus", "time"];
    let changeable = Some(changeable.map(str::to_owned).to_vec());
    let samples = [
        ("a job that asks for nothing", sample(Occasion::Submission, &[])),
        ("a job that asks for a lot", sample(Occasion::Submission, &LARGE)),
        ("a change", AdmitRequest { changeable: changeable.clone(), ..sample(Occasion::Change, &LARGE) }),
        ("a rerun", AdmitRequest { changeable, ..sample(Occasion::Rerun, &[]) }),
    ];
    for (what, job) in samples {
        // After a fault the instance is of no use any more.
        if !report.found(asked(&mut policy, what, &job)) {
            return;
        }
    }
}

fn asked(policy: &mut Instance<AdmitPolicy>, what: &str, job: &AdmitRequest) -> Result<String, String> {
    let wanted = Request::from(job);
    let answer = policy
        .call(|store, world| world.berth_policy_admit().call_admit(store, NOW.0, &wanted))
        .map_err(|fault| format!("it failed at {what}: {fault}"))?;
    match answer {
        Ok(edits) => {
            let names: Vec<String> = sound(edits, job, 1000)
                .map_err(|words| format!("of {what}: {words}"))?
                .into_iter()
                .map(|edit| edit.field.name)
                .collect();
            Ok(match names.is_empty() {
                true => format!("{what} is let in as it is"),
                false => format!("{what} is let in with changes: {}", names.join(", ")),
            })
        }
        Err(refusal) => Ok(format!("{what} is refused: {refusal:?}")),
    }
}

const LARGE: [(&str, &[&str]); 8] = [
    ("cpus", &["1000"]),
    ("gpus", &["16"]),
    ("image", &["example.org/some/image:latest"]),
    ("labels.sample", &["yes"]),
    ("memory", &["4T"]),
    ("time", &["365d"]),
    ("volumes", &["home", "no-such-volume:ro"]),
    ("workdir", &["/"]),
];

fn sample(occasion: Occasion, more: &[(&str, &[&str])]) -> AdmitRequest {
    let (user, uid) = SAMPLE_USER;
    let field = |(name, values): &(&str, &[&str])| Field {
        name: (*name).to_owned(),
        values: values.iter().map(|&value| value.to_owned()).collect(),
    };
    let all: [(&str, &[&str]); 2] = [("command.argv", &["true"]), ("project", &["sample"])];
    let mut fields: Vec<Field> = all.iter().chain(more).map(field).collect();
    fields.sort();
    AdmitRequest {
        occasion,
        by: user.to_owned(),
        owner: Identity {
            user: user.to_owned(),
            uid,
            gid: uid,
            groups: Vec::new(),
            home: None,
            email: None,
            roles: Vec::new(),
        },
        projects: vec!["sample".to_owned()],
        fields,
        variables: vec!["SAMPLE".to_owned()],
        changeable: None,
    }
}
