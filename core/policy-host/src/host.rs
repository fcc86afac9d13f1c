//! Finds out what a component is, and makes it ready to be instantiated.

use std::{
    borrow::Cow,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest, Sha256};
use wasmtime::{
    Config, Engine,
    component::{Component, Linker, types::ComponentItem},
};

use crate::{
    Capability, Grants, LoadError, PolicyInfo, PolicyKind, PolicySource, PolicySpec,
    bindings::{PACKAGE, SERVED},
    cache::Cache,
    capabilities,
    instance::{Budget, Guest, Instance},
    ticker::Ticker,
    words::shown,
    worlds::{Pre, info_of},
};

/// What holds for all policies of a Berth.
#[derive(Clone, Debug, Default)]
pub struct HostSettings {
    /// Where compiled policies are kept; `None` compiles them anew each time. Made if it is not there;
    /// one that others can write to is not used.
    pub cache_dir: Option<PathBuf>,
}

/// Compiles and loads policies. Cheap to clone.
#[derive(Clone)]
pub struct PolicyHost {
    inner: Arc<Inner>,
}

struct Inner {
    /// Interrupts by time.
    live: Engine,
    /// Interrupts by fuel: at the same instruction every time.
    metered: Engine,
    ticker: Arc<Ticker>,
    cache: Option<Cache>,
}

/// A policy that is ready to be instantiated. Cheap to clone.
#[derive(Clone)]
pub struct Loaded {
    inner: Arc<LoadedInner>,
}

struct LoadedInner {
    spec: PolicySpec,
    sha256: String,
    imports: Vec<Capability>,
    info: PolicyInfo,
    pre: Pre,
    budget: Budget,
}

impl fmt::Debug for PolicyHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyHost").field("cache", &self.inner.cache).finish_non_exhaustive()
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("policy", &self.inner.spec.name)
            .field("sha256", &self.sha256())
            .finish()
    }
}

impl PolicyHost {
    /// Sets up the engines. A cache folder that cannot be used is reported to the log and done without.
    ///
    /// # Errors
    /// When the machine cannot run compiled WebAssembly.
    pub fn new(settings: HostSettings) -> Result<Self, LoadError> {
        let no_engine = |error: wasmtime::Error| LoadError::NoEngine { words: format!("{error:#}") };
        let live = Engine::new(common_config().epoch_interruption(true)).map_err(no_engine)?;
        let metered = Engine::new(common_config().consume_fuel(true)).map_err(no_engine)?;
        let ticker =
            Ticker::start(&live).map_err(|error| LoadError::NoEngine { words: error.to_string() })?;
        let cache = settings.cache_dir.as_deref().and_then(|folder| {
            Cache::open(folder)
                .inspect_err(|error| {
                    tracing::warn!(path = %folder.display(), %error, "folder for compiled policies not used");
                })
                .ok()
        });
        Ok(Self { inner: Arc::new(Inner { live, metered, ticker: Arc::new(ticker), cache }) })
    }

    /// Loads a policy and asks it who it is. Takes the time of a compilation, unless the cache has it:
    /// not to be called where others wait.
    ///
    /// # Errors
    /// When it cannot be read, is no policy of the kind that is wanted, or wants what is not granted.
    pub fn load(&self, spec: PolicySpec) -> Result<Loaded, LoadError> {
        let budget = Budget::Time(Arc::clone(&self.inner.ticker));
        self.load_for(&self.inner.live, spec, budget)
    }

    /// Loads a policy whose calls stop at the same point every time, after `fuel` units of fuel each.
    ///
    /// # Errors
    /// As for [`PolicyHost::load`].
    pub fn load_metered(&self, spec: PolicySpec, fuel: u64) -> Result<Loaded, LoadError> {
        self.load_for(&self.inner.metered, spec, Budget::Fuel(fuel))
    }

    /// What kind of policy these bytes are.
    ///
    /// # Errors
    /// When they are no component, or export no contract that is served.
    pub fn kind_of(&self, name: &str, bytes: &[u8]) -> Result<PolicyKind, LoadError> {
        let (component, _) = self.compile(&self.inner.metered, name, bytes)?;
        exported_kind(name, &component)
    }

    fn load_for(&self, engine: &Engine, spec: PolicySpec, budget: Budget) -> Result<Loaded, LoadError> {
        let bytes = spec.source.read()?;
        let (component, sha256) = self.compile(engine, &spec.name, &bytes)?;
        let found = exported_kind(&spec.name, &component)?;
        if found != spec.kind {
            return Err(LoadError::WrongKind { policy: spec.name, found, wanted: spec.kind });
        }
        let imports = granted_imports(&component, &spec)?;
        let contract = |words: wasmtime::Error| LoadError::Contract {
            policy: spec.name.clone(),
            words: format!("{words:#}"),
        };
        let linker = linker(engine, &spec.grants).map_err(contract)?;
        let pre =
            linker.instantiate_pre(&component).and_then(|pre| Pre::new(found, pre)).map_err(contract)?;
        let info = PolicyInfo::default();
        let mut inner = LoadedInner { spec, sha256, imports, info, pre, budget };
        inner.info =
            inner.describe().map_err(|fault| LoadError::Faulty { policy: inner.spec.name.clone(), fault })?;
        Ok(Loaded { inner: Arc::new(inner) })
    }

    fn compile(&self, engine: &Engine, name: &str, bytes: &[u8]) -> Result<(Component, String), LoadError> {
        let sha256 = hex(&Sha256::digest(bytes));
        let cache = self.inner.cache.as_ref();
        if let Some(component) = cache.and_then(|cache| cache.load(&sha256, engine)) {
            return Ok((component, sha256));
        }
        let component = Component::from_binary(engine, bytes).map_err(|error| LoadError::NotAComponent {
            policy: name.to_owned(),
            words: shown(&format!("{error:#}"), 1000),
        })?;
        if let Some(cache) = cache {
            cache.keep(&sha256, engine, &component);
        }
        Ok((component, sha256))
    }
}

impl PolicySource {
    fn read(&self) -> Result<Cow<'static, [u8]>, LoadError> {
        match self {
            Self::Shipped { bytes, .. } => Ok(Cow::Borrowed(bytes)),
            Self::File(path) => fs::read(path)
                .map(Cow::Owned)
                .map_err(|source| LoadError::Read { path: Path::to_owned(path), source }),
            Self::Bytes(bytes) => Ok(Cow::Owned(bytes.to_vec())),
        }
    }
}

impl LoadedInner {
    fn describe(&self) -> Result<PolicyInfo, crate::Fault> {
        let guest = Guest::new(&self.spec);
        info_of(&self.pre, guest, self.budget.clone(), &self.spec.limits)
    }
}

impl Loaded {
    /// As it stands in berth.toml.
    #[must_use]
    pub fn spec(&self) -> &PolicySpec {
        &self.inner.spec
    }

    /// What it says of itself.
    #[must_use]
    pub fn info(&self) -> &PolicyInfo {
        &self.inner.info
    }

    /// The hash of its bytes, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.inner.sha256
    }

    /// The capabilities that it uses.
    #[must_use]
    pub fn imports(&self) -> &[Capability] {
        &self.inner.imports
    }

    /// Name, version and the head of the hash, for people.
    #[must_use]
    pub fn title(&self) -> String {
        let short = self.sha256().get(..12).unwrap_or_default();
        format!("{} {} ({short})", self.info().name, self.info().version)
    }

    /// A fresh instance, which knows nothing yet.
    pub(crate) fn instantiate<W: crate::worlds::World>(&self) -> Result<Instance<W>, crate::Fault> {
        let spec = self.spec();
        Instance::new(&self.inner.pre, Guest::new(spec), self.inner.budget.clone(), &spec.limits)
    }
}

/// What both engines have in common. Whatever could make two runs differ is settled: not-a-numbers have
/// one form, relaxed instructions one meaning, and there are no threads.
fn common_config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Shipped guests carry no names, so that a list of addresses would be all there is.
        .wasm_backtrace_max_frames(None)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false);
    config
}

/// The linker has what is granted and nothing else.
fn linker(engine: &Engine, grants: &Grants) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    capabilities::link(&mut linker, grants)?;
    Ok(linker)
}

fn exported_kind(name: &str, component: &Component) -> Result<PolicyKind, LoadError> {
    let engine = component.engine();
    let of_type = component.component_type();
    let exports: Vec<&str> = of_type.exports(engine).map(|(export, _)| export).collect();
    let served = |kind: &PolicyKind| format!("{PACKAGE}{kind}@{SERVED}");
    PolicyKind::ALL.into_iter().find(|kind| exports.contains(&served(kind).as_str())).ok_or_else(|| {
        LoadError::NoContract {
            policy: name.to_owned(),
            exports: match exports.as_slice() {
                [] => "nothing".to_owned(),
                some => shown(&some.join(", "), 300),
            },
            served: PolicyKind::ALL.iter().map(served).collect::<Vec<_>>().join(", "),
        }
    })
}

/// The capabilities that a component imports, if each is one that it may have.
fn granted_imports(component: &Component, spec: &PolicySpec) -> Result<Vec<Capability>, LoadError> {
    let policy = || spec.name.clone();
    let engine = component.engine();
    let of_type = component.component_type();
    let mut granted = Vec::new();
    for (import, item) in of_type.imports(engine) {
        let name = import.strip_prefix(PACKAGE).and_then(|rest| rest.strip_suffix(SERVED)?.strip_suffix('@'));
        // Types are names for shapes; there is nothing behind them to grant.
        if name == Some("types") && matches!(item.ty, ComponentItem::ComponentInstance(_)) {
            continue;
        }
        let Some(capability) = name.and_then(Capability::by_name) else {
            return Err(LoadError::UnknownImport { policy: policy(), import: shown(import, 200) });
        };
        if !spec.kind.may_have(capability) {
            return Err(LoadError::NotForItsKind { policy: policy(), capability, kind: spec.kind });
        }
        if !spec.grants.has(capability) {
            return Err(LoadError::NotGranted { policy: policy(), capability, key: spec.grant_key.clone() });
        }
        granted.push(capability);
    }
    Ok(granted)
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
