//! Who is told what, by what the site, its people and their jobs say.

use berth_config::Config;
use berth_model::{End, Identity, JobNotices, MailTo, NoticeChoice, Occasion, StateKind, UtcMs};
use berth_notices::{Address, Notice, Reach, domain_of, is_address};
use berth_store::{JobDetail, OwedNotice, StoredEvent};

use super::ledger::USER;

/// Something that the site does not let somebody have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// In which field.
    pub field: &'static str,
    /// Why.
    pub words: String,
}

/// What the site has decided.
pub struct Rules {
    cluster: String,
    mail: Option<Mail>,
    users: Option<Reach>,
    hooks: Vec<Hook>,
}

struct Mail {
    domain: Option<String>,
    user_domains: Vec<String>,
}

struct Hook {
    name: String,
    on: Vec<Occasion>,
    label: Option<(String, Option<String>)>,
}

fn wants(on: &[Occasion], occasions: &[Occasion]) -> bool {
    occasions.iter().any(|occasion| on.contains(occasion))
}

impl Rules {
    pub fn new(config: &Config) -> Self {
        let mail = config.notices.mail.as_ref();
        let hook = |hook: &berth_config::Webhook| Hook {
            name: hook.name.clone(),
            on: hook.on.clone(),
            label: hook.label.clone(),
        };
        Self {
            cluster: config.cluster.name.clone(),
            mail: mail
                .map(|mail| Mail { domain: mail.domain.clone(), user_domains: mail.user_domains.clone() }),
            users: config.notices.user_webhooks.as_ref().map(super::sinks::reach),
            hooks: config.webhooks.iter().map(hook).collect(),
        }
    }

    /// Whether anybody is ever told anything.
    pub fn anybody(&self) -> bool {
        self.mail.is_some() || self.users.is_some() || !self.hooks.is_empty()
    }

    /// Whether the site itself may want to be told this of a job. Labels are looked at later.
    pub fn site_may_want(&self, occasions: &[Occasion]) -> bool {
        self.hooks.iter().any(|hook| wants(&hook.on, occasions))
    }

    /// Where mail about a job goes, or about all of somebody's jobs.
    pub fn address(&self, who: &Identity, choice: &NoticeChoice, job: Option<&JobNotices>) -> Option<String> {
        let mail = self.mail.as_ref()?;
        let usual = || {
            let known = who.email.clone().filter(|address| is_address(address));
            known.or_else(|| {
                // Guests have no address in the site's domain.
                let domain = mail.domain.as_ref().filter(|_| !who.is_guest())?;
                Some(format!("{}@{domain}", who.user)).filter(|address| is_address(address))
            })
        };
        match (job.and_then(|job| job.mail.as_ref()), &choice.mail) {
            // The site may have changed its mind since they named it.
            (Some(address), _) | (None, MailTo::Address(address)) => {
                self.may_mail(who, address).is_ok().then(|| address.clone())
            }
            (None, MailTo::Usual) => usual(),
            (None, MailTo::Nowhere) => None,
        }
    }

    /// What is owed because of an event.
    pub fn owed(
        &self,
        event: &StoredEvent,
        occasions: &[Occasion],
        job: &JobDetail,
        choice: &NoticeChoice,
        now: UtcMs,
    ) -> Vec<OwedNotice> {
        let owner = &job.submission.owner;
        let spec = &job.submission.spec;
        let mut targets = Vec::new();
        for hook in &self.hooks {
            let labelled = hook.label.as_ref().is_none_or(|(name, value)| {
                let own = spec.labels.get(name);
                own.is_some_and(|own| value.as_ref().is_none_or(|value| own == value))
            });
            if labelled && wants(&hook.on, occasions) {
                targets.push((format!("hook:{}", hook.name), format!("hook-{}", hook.name), String::new()));
            }
        }
        if wants(choice.occasions(spec.notices.as_ref()), occasions) {
            if let Some(address) = self.address(owner, choice, spec.notices.as_ref()) {
                targets.push(("mail".to_owned(), "mail".to_owned(), address));
            }
            if self.users.is_some() && choice.webhook.is_some() {
                targets.push((format!("{USER}{}", owner.user), "user".to_owned(), String::new()));
            }
        }
        if targets.is_empty() {
            return Vec::new();
        }
        let notice = notice(&self.cluster, event, occasions, job).bounded();
        // It is made of plain values, which can always be written.
        let Ok(body) = serde_json::to_string(&notice) else { return Vec::new() };
        let owe = |(sink, end, target): (String, String, String)| OwedNotice {
            // The instant keeps apart what two databases of one cluster have numbered alike. Names are in the order of
            // their events, as far as these are of one instant.
            id: format!("{:x}-{:012}-{end}", event.record.at.0, event.seq),
            sink,
            owner: owner.user.clone(),
            target,
            at: event.record.at,
            tries: 0,
            due: now,
            body: body.clone(),
        };
        targets.into_iter().map(owe).collect()
    }

    pub fn may_choose(&self, who: &Identity, choice: &NoticeChoice) -> Result<(), Refused> {
        if let MailTo::Address(address) = &choice.mail {
            self.may_mail(who, address)?;
        }
        match (&choice.webhook, &self.users) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(refused("webhook", "this site calls no webhooks of its users".to_owned())),
            (Some(url), Some(reach)) => {
                let address: Address = url
                    .parse()
                    .map_err(|error: berth_notices::AddressError| refused("webhook", error.to_string()))?;
                match reach.allows_host(address.host()) {
                    true => Ok(()),
                    false => {
                        let hosts = reach.hosts.join(", ");
                        let words = format!("{} may not be called; the site allows {hosts}", address.host());
                        Err(refused("webhook", words))
                    }
                }
            }
        }
    }

    fn may_mail(&self, who: &Identity, address: &str) -> Result<(), Refused> {
        let Some(mail) = &self.mail else {
            return Err(refused("mail", "this site sends no mail".to_owned()));
        };
        if !is_address(address) {
            return Err(refused("mail", "it is no address; write NAME@DOMAIN".to_owned()));
        }
        let usual = self.address(who, &NoticeChoice::default(), None);
        let own = usual.is_some_and(|usual| usual.eq_ignore_ascii_case(address));
        let domain = domain_of(address).unwrap_or_default();
        if own || mail.user_domains.contains(&domain) {
            return Ok(());
        }
        let words = match mail.user_domains.as_slice() {
            [] => "this site sends mail to people's own addresses only".to_owned(),
            domains => format!("mail may go to your own address and to {}", domains.join(", ")),
        };
        Err(refused("mail", words))
    }

    pub fn may_ask(&self, who: &Identity, choice: &NoticeChoice, job: &JobNotices) -> Result<(), Refused> {
        if let Some(address) = &job.mail {
            self.may_mail(who, address)?;
        }
        let asks = job.on.as_ref().is_some_and(|on| !on.is_empty());
        let by_hook = self.users.is_some() && choice.webhook.is_some();
        if !asks || by_hook || self.address(who, choice, Some(job)).is_some() {
            return Ok(());
        }
        let words = match (&self.mail, &self.users) {
            (None, None) => "this site tells nobody of their jobs",
            (None, Some(_)) => {
                "this site sends no mail; `berth notify set --webhook` names an address to call"
            }
            (Some(_), _) if choice.mail == MailTo::Nowhere => {
                "you want no mail; `berth notify set --mail usual` changes that, --mail is for this job alone"
            }
            (Some(_), _) => "no address of yours is known; name one with --mail",
        };
        Err(refused("notify", words.to_owned()))
    }
}

fn refused(field: &'static str, words: String) -> Refused {
    Refused { field, words }
}

/// What is told. The event says what happened, the job what it is and has used.
fn notice(cluster: &str, event: &StoredEvent, occasions: &[Occasion], detail: &JobDetail) -> Notice {
    use berth_model::EventKind as E;
    let job = &detail.job;
    let moving = &job.moving;
    let end = match &event.record.kind {
        E::Ended { end, .. } => Some(end),
        _ => None,
    };
    let state = match &event.record.kind {
        E::Ended { end, .. } => end.kind(),
        E::Suspended => StateKind::Suspended,
        E::Message { .. } => moving.state.kind(),
        _ => StateKind::Running,
    };
    let message = match &event.record.kind {
        E::Message { text } => Some(text.clone()),
        _ => None,
    };
    Notice {
        cluster: cluster.to_owned(),
        event: occasions.first().copied().unwrap_or(Occasion::End),
        at: event.record.at,
        job: job.id.0,
        label: job.id.to_string(),
        name: job.name.clone(),
        user: job.owner.clone(),
        project: job.project.clone(),
        state: state.as_str().to_owned(),
        cause: end.and_then(cause),
        exit_code: end.and_then(End::exit_code),
        message,
        attempt: moving.attempt.number,
        tasks: job.array.map(|range| range.tasks()),
        node: moving.node.clone(),
        submitted: job.submitted,
        started: moving.started,
        ended: end.is_some().then_some(event.record.at),
        cpu_micros: end.and(moving.cpu_micros),
        memory_peak_bytes: end.and(moving.memory_peak_bytes),
    }
}

fn cause(end: &End) -> Option<String> {
    match end {
        End::Succeeded => None,
        End::Failed { cause, .. } => Some(cause.to_string()),
        End::Killed { cause, .. } => Some(cause.to_string()),
        End::Rejected { by, reason } => Some(format!("by {by}: {reason}")),
        End::Lost { reason } => Some(reason.clone()),
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
