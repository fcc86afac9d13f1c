//! From a launch to what the engine is given: pure, one concern to a file.

mod check;
mod command;
mod limits;
mod mounts;
mod network;

use berth_docker_engine::{
    Labels,
    bollard::models::{
        ContainerCreateBody, DeviceMapping, HostConfig, HostConfigLogConfig, RestartPolicy,
        RestartPolicyNameEnum,
    },
    labels_of,
};
use berth_executor_api::{Launch, Places, files::Person};

pub(crate) use self::{
    check::checked,
    command::SCRIPT,
    network::{EXTERNAL, INTERNAL, attached_to, mapped, network_name, on_demand_name},
};
use crate::{
    config::DockerConfig,
    extensions::Extensions,
    facts::{Facts, person},
    gpu,
};

/// Where scratch space is seen in a container.
pub(crate) const SCRATCH: &str = "/scratch";

/// Everything that a container is made of.
pub(crate) struct Making<'a> {
    pub config: &'a DockerConfig,
    pub launch: &'a Launch,
    pub options: &'a Extensions,
    pub facts: &'a Facts,
    /// The image as the engine knows it.
    pub image: String,
    /// The network as the engine knows it.
    pub network: String,
    /// The control group that counts what this attempt uses.
    pub cgroup_parent: Option<String>,
    /// The CPUs that the engine has.
    pub cores: u32,
    /// The cores that attempts without any of their own keep to, while others have theirs.
    pub common_cores: Option<String>,
}

/// The name of an attempt's scratch volume.
pub(crate) fn scratch_volume(launch: &berth_executor_api::AttemptName) -> String {
    format!("{launch}-scratch")
}

impl Making<'_> {
    /// The container.
    pub fn body(&self) -> ContainerCreateBody {
        let whom = person(self.launch);
        let command = command::command(self.launch, self.options);
        let ports = network::ports(self.launch, self.options, &self.config.publish);
        let mut labels: Labels = labels_of(self.launch);
        self.facts.write(&mut labels);
        ContainerCreateBody {
            hostname: self.hostname(),
            user: Some(format!("{}:{}", whom.uid, whom.gid)),
            attach_stdin: Some(false),
            open_stdin: Some(false),
            tty: Some(self.options.tty),
            env: Some(self.environment()),
            entrypoint: command.entrypoint,
            cmd: command.arguments,
            image: Some(self.image.clone()),
            working_dir: Some(
                self.launch.spec.workdir.clone().unwrap_or_else(|| self.launch.directory.clone()),
            ),
            exposed_ports: Some(ports.exposed),
            labels: Some(labels),
            host_config: Some(HostConfig { port_bindings: Some(ports.bindings), ..self.host_config(&whom) }),
            ..ContainerCreateBody::default()
        }
    }

    fn hostname(&self) -> Option<String> {
        if self.options.uts_of_host {
            return None;
        }
        let usual = || self.launch.attempt.as_str().chars().take(63).collect();
        Some(self.options.hostname.clone().unwrap_or_else(usual))
    }

    fn environment(&self) -> Vec<String> {
        let spec = &self.launch.spec;
        let directory = self.launch.directory.as_str();
        let home = mounts::home(self.launch).unwrap_or(directory);
        let user = if spec.as_root { "root" } else { spec.identity.user.as_str() };
        let places = Places { directory, home, data: self.config.data.as_deref() };
        let login = [("HOME", home), ("USER", user), ("LOGNAME", user)];
        let scratch = (spec.scratch_bytes > 0).then_some(("BERTH_SCRATCH", SCRATCH));
        let first = login.into_iter().chain(scratch).map(|(name, value)| (name.to_owned(), value.to_owned()));
        let own = self.launch.environment(places).into_iter();
        // Of two with one name the last one counts.
        let mut all: std::collections::BTreeMap<String, String> = first.chain(own).collect();
        if let Some(vendor) = self.config.gpus.vendor {
            all.extend(gpu::access(vendor, &self.facts.gpus).env);
        }
        all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn host_config(&self, whom: &Person) -> HostConfig {
        let vendor = self.config.gpus.vendor;
        let gpus = vendor.map(|vendor| gpu::access(vendor, &self.facts.gpus)).unwrap_or_default();
        let mut groups: Vec<String> = whom.groups.iter().map(ToString::to_string).collect();
        groups.extend(gpus.groups);
        let some = |privileged: bool, text: &str| privileged.then(|| text.to_owned());
        let options = self.options;
        HostConfig {
            mounts: Some(mounts::mounts(self.launch)),
            group_add: Some(groups),
            device_requests: Some(gpus.requests),
            devices: Some(self.devices(gpus.devices)),
            cgroup_parent: self.cgroup_parent.clone(),
            network_mode: Some(self.network.clone()),
            // The engine's own restarts and removals would happen behind Berth's back.
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            auto_remove: Some(false),
            log_config: Some(whole_log()),
            privileged: Some(options.privileged),
            init: Some(self.init()),
            ipc_mode: options.ipc.clone(),
            pid_mode: some(options.pid_of_host, "host"),
            uts_mode: some(options.uts_of_host, "host"),
            runtime: options.runtime.clone(),
            shm_size: options.shm_bytes,
            ulimits: (!options.ulimits.is_empty()).then(|| options.ulimits.clone()),
            security_opt: self.security(),
            cap_drop: self.dropped(),
            ..limits::limits(self)
        }
    }

    /// The device files of its GPUs, and those of the named resources that it was given.
    fn devices(&self, gpus: Vec<DeviceMapping>) -> Vec<DeviceMapping> {
        let mut all = gpus;
        for path in self.launch.granted.iter().flat_map(|grant| &grant.devices) {
            if !all.iter().any(|known| known.path_on_host.as_ref() == Some(path)) {
                all.push(gpu::device(path));
            }
        }
        all
    }

    /// A stopped first process that hands on signals would stop nothing but itself.
    fn init(&self) -> bool {
        let by_signal = self.facts.by_signal;
        self.options.init.unwrap_or(self.config.init && !by_signal)
    }

    fn security(&self) -> Option<Vec<String>> {
        let hold = !self.config.new_privileges && !self.options.privileged;
        hold.then(|| vec!["no-new-privileges".to_owned()])
    }

    /// Root without its capabilities could do less than a user.
    fn dropped(&self) -> Option<Vec<String>> {
        let hold = !self.options.privileged && !self.launch.spec.as_root;
        hold.then(|| self.config.drop_capabilities.clone()).filter(|all| !all.is_empty())
    }
}

/// Logs are what a restarted Berth takes the jobs' outputs from: the engine must not begin to throw them
/// away, whatever its own settings say.
fn whole_log() -> HostConfigLogConfig {
    HostConfigLogConfig {
        typ: Some("json-file".into()),
        config: Some([("max-size".to_owned(), "1000t".to_owned())].into()),
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
