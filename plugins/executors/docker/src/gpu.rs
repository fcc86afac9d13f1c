//! GPUs by vendor: what a container needs to see some of them, and nothing for who asks for none.

use std::str::FromStr;

use berth_docker_engine::bollard::models::{DeviceMapping, DeviceRequest};

/// Who made the GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// By the engine's NVIDIA runtime.
    Nvidia,
    /// By `/dev/kfd` and `/dev/dri`.
    Amd,
    /// By `/dev/dri`.
    Intel,
}

impl Vendor {
    /// As it is configured and told.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nvidia => "nvidia",
            Self::Amd => "amd",
            Self::Intel => "intel",
        }
    }
}

impl FromStr for Vendor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Nvidia, Self::Amd, Self::Intel];
        let found = all.into_iter().find(|vendor| vendor.as_str() == text);
        found.ok_or_else(|| format!("{text:?} makes no GPUs that are known here; nvidia, amd and intel do"))
    }
}

/// The GPUs of an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gpus {
    /// Who made them; `None` where there are none.
    pub vendor: Option<Vendor>,
    /// Their names: for NVIDIA indices or UUIDs, for the others indices.
    pub ids: Vec<String>,
}

impl Gpus {
    /// So many of one vendor, numbered from 0.
    #[must_use]
    pub fn numbered(vendor: Vendor, count: u32) -> Self {
        Self { vendor: Some(vendor), ids: (0..count).map(|id| id.to_string()).collect() }
    }
}

/// What a container is given so that it sees its GPUs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// For a runtime that finds the devices by itself.
    pub requests: Vec<DeviceRequest>,
    /// Device files.
    pub devices: Vec<DeviceMapping>,
    /// Groups that the device files belong to.
    pub groups: Vec<String>,
    /// Variables that tell the vendor's libraries which ones to use.
    pub env: Vec<(String, String)>,
}

/// Access to exactly these.
#[must_use]
pub fn access(vendor: Vendor, ids: &[String]) -> Access {
    if ids.is_empty() {
        return Access::default();
    }
    let list = ids.join(",");
    match vendor {
        Vendor::Nvidia => Access {
            requests: vec![DeviceRequest {
                driver: Some("nvidia".into()),
                device_ids: Some(ids.to_vec()),
                capabilities: Some(vec![vec!["gpu".into()]]),
                ..DeviceRequest::default()
            }],
            ..Access::default()
        },
        Vendor::Amd => Access {
            devices: vec![device("/dev/kfd"), device("/dev/dri")],
            groups: vec!["video".into()],
            // All device files are seen; the libraries keep to these.
            env: vec![("ROCR_VISIBLE_DEVICES".into(), list.clone()), ("HIP_VISIBLE_DEVICES".into(), list)],
            ..Access::default()
        },
        Vendor::Intel => Access {
            devices: vec![device("/dev/dri")],
            env: vec![("ZE_AFFINITY_MASK".into(), list)],
            ..Access::default()
        },
    }
}

/// A device file, as it is on the host.
#[must_use]
pub fn device(path: &str) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(path.into()),
        path_in_container: Some(path.into()),
        cgroup_permissions: Some("rwm".into()),
    }
}

/// What a job asks for by an option of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Every one that there is.
    All,
    /// So many.
    Count(usize),
    /// These.
    Ids(Vec<String>),
}

impl FromStr for Wanted {
    type Err = String;

    /// Reads `all`, a number, or `id=0,2`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self::All);
        }
        if let Some(ids) = text.strip_prefix("id=") {
            let ids: Vec<String> = ids.split(',').map(|id| id.trim().to_owned()).collect();
            let mut seen = std::collections::BTreeSet::new();
            let fine = ids.iter().all(|id| !id.is_empty() && seen.insert(id));
            return if fine { Ok(Self::Ids(ids)) } else { Err(wrong(text)) };
        }
        text.parse().ok().filter(|count| *count > 0).map(Self::Count).ok_or_else(|| wrong(text))
    }
}

fn wrong(text: &str) -> String {
    format!("{text:?} names no GPUs; write all, a number, or id=0,2")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(all: &[&str]) -> Vec<String> {
        all.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn nvidia_gets_a_device_request_with_the_very_gpus() {
        let access = access(Vendor::Nvidia, &ids(&["0", "GPU-7"]));
        let json = serde_json::to_value(&access.requests).unwrap();
        let wanted = serde_json::json!([{
            "Driver": "nvidia", "DeviceIDs": ["0", "GPU-7"], "Capabilities": [["gpu"]]
        }]);
        assert_eq!(json, wanted);
        assert!(access.devices.is_empty() && access.groups.is_empty() && access.env.is_empty());
    }

    #[test]
    fn amd_gets_kfd_and_dri_with_the_video_group() {
        let access = access(Vendor::Amd, &ids(&["1"]));
        let json = serde_json::to_value(&access.devices).unwrap();
        let device = |path: &str| serde_json::json!({"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"});
        assert_eq!(json, serde_json::json!([device("/dev/kfd"), device("/dev/dri")]));
        assert_eq!(access.groups, ["video"]);
        assert!(access.env.contains(&("ROCR_VISIBLE_DEVICES".into(), "1".into())));
        assert!(access.requests.is_empty());
    }

    #[test]
    fn intel_gets_dri_alone() {
        let access = access(Vendor::Intel, &ids(&["0", "1"]));
        let paths: Vec<_> = access.devices.iter().map(|device| device.path_on_host.as_deref()).collect();
        assert_eq!(paths, [Some("/dev/dri")]);
        assert!(access.groups.is_empty() && access.requests.is_empty());
        assert_eq!(access.env, [("ZE_AFFINITY_MASK".into(), "0,1".into())]);
    }

    #[test]
    fn who_asks_for_none_gets_nothing() {
        for vendor in [Vendor::Nvidia, Vendor::Amd, Vendor::Intel] {
            assert_eq!(access(vendor, &[]), Access::default());
        }
    }

    #[test]
    fn all_a_count_or_names_can_be_asked_for() {
        assert_eq!("all".parse(), Ok(Wanted::All));
        assert_eq!("2".parse(), Ok(Wanted::Count(2)));
        assert_eq!("id=0, GPU-7".parse(), Ok(Wanted::Ids(ids(&["0", "GPU-7"]))));
        for wrong in ["", "0", "-1", "id=", "id=1,1", "two", "0,1"] {
            assert!(wrong.parse::<Wanted>().is_err(), "{wrong}");
        }
    }
}
