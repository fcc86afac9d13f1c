//! What the stand-in holds: objects, their versions, and the history that watches read.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::{Map, Value, json};
use tokio::sync::watch;

/// The kinds of objects that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `batch/v1`
    Job,
    /// `v1`
    Pod,
    /// `v1`, without a namespace
    Node,
    /// `v1`
    Service,
    /// `v1`
    Event,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Job, Self::Pod, Self::Node, Self::Service, Self::Event];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Job => "Job",
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::Service => "Service",
            Self::Event => "Event",
        }
    }

    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Job => "jobs",
            Self::Pod => "pods",
            Self::Node => "nodes",
            Self::Service => "services",
            Self::Event => "events",
        }
    }

    pub(crate) fn api_version(self) -> &'static str {
        if self == Self::Job { "batch/v1" } else { "v1" }
    }

    /// As messages name it.
    pub(crate) fn qualified(self) -> String {
        if self == Self::Job { "jobs.batch".into() } else { self.plural().into() }
    }
}

/// One line of history.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub version: u64,
    pub kind: Kind,
    pub event: &'static str,
    pub object: Value,
}

#[derive(Debug, Default)]
pub(crate) struct Contents {
    version: u64,
    made: u64,
    objects: BTreeMap<(Kind, String, String), Value>,
    history: Vec<Change>,
    /// Watches cannot begin before this version any more.
    pub forgotten: u64,
}

#[derive(Debug)]
pub(crate) struct Store {
    contents: Mutex<Contents>,
    changed: watch::Sender<u64>,
}

/// The text at a path, or an empty one.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Sets what is at a path of keys, and makes the way there.
pub(crate) fn set(object: &mut Value, path: &[&str], value: Value) {
    let mut at = object;
    for key in path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Some(map) = at.as_object_mut() else { return };
        at = map.entry((*key).to_owned()).or_insert(Value::Null);
    }
    *at = value;
}

impl Store {
    pub fn new() -> Self {
        Self { contents: Mutex::default(), changed: watch::channel(0).0 }
    }

    pub fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Does something to the contents, and wakes those who watch if it changed any.
    pub fn change<T>(&self, act: impl FnOnce(&mut Contents) -> T) -> T {
        let (done, version) = {
            let mut contents = self.lock();
            let done = act(&mut contents);
            (done, contents.version)
        };
        self.changed.send_if_modified(|known| std::mem::replace(known, version) != version);
        done
    }
}

impl Contents {
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, namespace.to_owned(), name.to_owned()))
    }

    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |((of, ..), _)| *of == kind).map(|(_, object)| object)
    }

    pub fn by_uid(&self, kind: Kind, uid: &str) -> Option<&Value> {
        self.all(kind).find(|object| text(object, "/metadata/uid") == uid)
    }

    pub fn since(&self, version: u64) -> Vec<Change> {
        let from = self.history.partition_point(|change| change.version <= version);
        self.history.get(from..).unwrap_or_default().to_vec()
    }

    fn note(&mut self, kind: Kind, event: &'static str, mut object: Value) -> Value {
        self.version += 1;
        set(&mut object, &["metadata", "resourceVersion"], json!(self.version.to_string()));
        set(&mut object, &["kind"], json!(kind.name()));
        set(&mut object, &["apiVersion"], json!(kind.api_version()));
        let change = Change { version: self.version, kind, event, object: object.clone() };
        self.history.push(change);
        object
    }

    /// Puts a new object in; its name must be free.
    pub fn insert(&mut self, kind: Kind, mut object: Value) -> Value {
        self.made += 1;
        let uid = format!("{:08x}-0000-4000-8000-{:012x}", std::process::id(), self.made);
        set(&mut object, &["metadata", "uid"], json!(uid));
        set(&mut object, &["metadata", "creationTimestamp"], json!(now()));
        let object = self.note(kind, "ADDED", object);
        self.objects.insert(key(kind, &object), object.clone());
        object
    }

    /// Changes an object; what changes nothing is no news. One that was asked to go does when nothing holds it.
    pub fn update(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        act: impl FnOnce(&mut Value),
    ) -> Option<Value> {
        let known = self.get(kind, namespace, name)?.clone();
        let mut object = known.clone();
        act(&mut object);
        if object == known {
            return Some(known);
        }
        let held = object.pointer("/metadata/finalizers").and_then(Value::as_array);
        let is_held = held.is_some_and(|all| !all.is_empty());
        // A Pod stays until its node has said that it is over.
        let at_work = object.pointer("/metadata/annotations/stand-in.at-work").is_some();
        if !text(&object, "/metadata/deletionTimestamp").is_empty() && !is_held && !at_work {
            let object = self.note(kind, "MODIFIED", object);
            self.objects.insert(key(kind, &object), object);
            return self.remove(kind, namespace, name);
        }
        let object = self.note(kind, "MODIFIED", object);
        self.objects.insert(key(kind, &object), object.clone());
        Some(object)
    }

    pub fn remove(&mut self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        let object = self.objects.remove(&(kind, namespace.to_owned(), name.to_owned()))?;
        Some(self.note(kind, "DELETED", object))
    }
}

fn key(kind: Kind, object: &Value) -> (Kind, String, String) {
    (kind, text(object, "/metadata/namespace").to_owned(), text(object, "/metadata/name").to_owned())
}
