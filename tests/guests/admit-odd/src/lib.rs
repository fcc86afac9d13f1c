//! A filter that is bad on purpose, in the way that its setting says: it traps, never finishes, makes jobs root's, asks
//! for a volume or an option for them, sets what no job has, or has them run for ever. Where nothing is said, it labels
//! what it sees.

use berth_policy_sdk::{Admit, Draft, Error, Info, InstantMs, Settings, admit::Refusal, bad_settings, info};

/// What it does.
#[derive(Clone, Copy, Debug)]
pub enum Odd {
    /// Labels what it sees.
    Labels,
    /// Traps.
    Traps,
    /// Never finishes.
    Loops,
    /// Makes jobs root's.
    Root,
    /// Asks for a volume that nobody asked for.
    Volume,
    /// Asks for an option that nobody asked for.
    Option,
    /// Sets a field that no job has.
    Unknown,
    /// Has jobs run longer than they may.
    Long,
    /// Is not ready.
    NotNow,
}

impl Admit for Odd {
    fn describe() -> Info {
        info!("admit-odd", "is odd in the way that it is told", "does" => "what it does")
    }

    fn configure(settings: &mut Settings) -> Result<Self, Error> {
        Ok(match settings.take("does").as_deref() {
            None | Some("labels") => Self::Labels,
            Some("traps") => Self::Traps,
            Some("loops") => Self::Loops,
            Some("root") => Self::Root,
            Some("volume") => Self::Volume,
            Some("option") => Self::Option,
            Some("unknown") => Self::Unknown,
            Some("long") => Self::Long,
            Some("not-now") => Self::NotNow,
            Some(other) => return Err(bad_settings(format!("does = {other:?} is nothing that it does"))),
        })
    }

    fn admit(&mut self, _: InstantMs, job: &mut Draft) -> Result<(), Refusal> {
        match self {
            Self::Traps => std::process::abort(),
            Self::Loops => loop {
                std::hint::spin_loop();
            },
            Self::NotNow => return Err(Refusal::NotNow("the site is being rearranged".into())),
            Self::Labels => {
                let seen = job.one("labels.seen").map_or(1, |seen| seen.parse().unwrap_or(0) + 1);
                job.set("labels.seen", seen.to_string(), "it has been seen")
            }
            Self::Root => job.set("root", "true", "root may do everything"),
            Self::Volume => job.set_all("volumes", vec!["secrets".into()], "they may be of use"),
            Self::Option => job.set("options.docker.privileged", "true", "it may be of use"),
            Self::Unknown => job.set("colour", "red", "for want of one"),
            Self::Long => job.set("time", "1000d", "there is no hurry"),
        };
        Ok(())
    }
}

berth_policy_sdk::export_admit!(Odd);
