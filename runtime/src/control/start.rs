//! From a bundle to a running manager: everything that can be refused is refused before anything is made.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use nflib::memory::HUGE_PAGE;
use onvm_api as wire;
use onvm_bundle::{Bundle, HugePages, ManagerConfig};
use rustix::process::{Resource, Rlimit};
use tokio::sync::{OnceCell, mpsc::unbounded_channel, oneshot};

use super::{
    Aside, History, Manager, Rates, Signals, cores, memory::Memory, place::slots_of, program::port_names,
    threads::start_workers, unsupported::refuse_unsupported,
};
use crate::{
    api,
    capture::Chunk,
    container::Engine,
    director::Director,
    dpdk::{self, Eal, EalOptions, PageSize},
    error::RunError,
    fleet::{CorePlan, Fleet, HostOptions, InstanceSpec, NfMode, Shared, spec},
    generation::Generation,
    jail::{self, Jail},
    ports::{self, Claims, OpenPort},
    rundir::RunDir,
    worker::{Command, SourceKind},
};

/// The options of `onvm-run`.
#[derive(Debug, Clone)]
pub struct Options {
    pub bundle: PathBuf,
    pub run_dir: PathBuf,
    pub host: HostOptions,
    /// End when every capture has been read and every packet has left.
    pub exit_when_done: bool,
    /// How long a flow may be silent and still keeps its instance of a service with several; whole seconds.
    pub flow_idle: Duration,
    /// How long a service must have had little to do before it has one instance fewer.
    pub scale_down_after: Duration,
}

/// For a driver that is opening a device when a signal comes.
const OPEN_DEADLINE: Duration = Duration::from_secs(2);
/// Addresses of DPDK's for domains that edits add.
const MOST_SPARE_MIB: u32 = 512;
const STOPPED: &str = "stopped before all NFs were ready";
/// Slots for services and for instances, those of draining generations included.
pub(super) const SLOTS: usize = 2 * onvm_bundle::MAX_INSTANCES;

/// Starts everything and waits until every NF is ready. On failure nothing is left behind.
pub async fn start(options: Options) -> Result<Manager, RunError> {
    let original = Bundle::load(&options.bundle)?;
    refuse_unsupported(&original.manager)?;
    ports::plan(&original)?;
    let specs = spec::all(&original, &options.host)?;
    // From here on a signal ends what was begun, in order; before, it ends the process.
    let mut signals = Signals::new()?;
    prepare_process();
    let jail = match options.host.mode {
        NfMode::Process => Some(Jail::new(&options.host.waived).await?),
        NfMode::Compose | NfMode::External => None,
    };
    let filtered = match options.host.mode {
        NfMode::Process => jail.as_ref().is_some_and(|jail| jail.means().calls),
        // Containers have the filter of the jail.
        NfMode::Compose => true,
        NfMode::External => false,
    };
    let run_dir = Arc::new(RunDir::lock(&options.run_dir, &original.index.name)?);
    let engine = OnceCell::new();
    if specs.values().flatten().any(InstanceSpec::is_contained) {
        tokio::select! {
            () = signals.stop() => return Err(RunError::Unsupported(STOPPED.to_owned())),
            found = Engine::find(&run_dir, true) => drop(engine.set(found?)),
        }
    }
    let mut aside = Aside::default();
    let keeper = run_dir.keeper()?;
    let copied = aside.start(move || keeper.keep(&original))?;
    let bundle = tokio::select! {
        () = signals.stop() => return Err(RunError::Unsupported(STOPPED.to_owned())),
        copied = copied => Arc::new(copied.map_err(|_| RunError::Unsupported(STOPPED.to_owned()))??),
    };
    // Bundled captures are read from the copy, which stays.
    let plans = Arc::new(ports::plan(&bundle)?);
    let loaded = load_captures(&mut aside, &mut signals, &plans).await?;
    if options.exit_when_done && !plans.iter().any(|p| p.source == Some(SourceKind::Finite)) {
        let text = "--exit-when-done: no port of this bundle reads a capture that ends (`pcap` with `read` and without \
                    `repeat`), so there is no end to wait for. Leave the option out.";
        return Err(RunError::Unsupported(text.to_owned()));
    }
    let claims = Claims::take(&plans, &bundle.index.name)?;
    let near = ports::node(&plans);
    let cores = cores::of_host(&bundle.manager, near);
    let eal = Arc::new(Eal::init(&eal_options(&bundle.manager, &plans, cores.on(near)))?);
    // All of them are loaded by now.
    jail::leave_out_of_copies();
    let memory = Memory::new(&eal, &bundle.manager, filtered, near)?;
    let mut opened = Vec::new();
    for (id, loaded) in loaded.into_iter().enumerate() {
        let (eal, plans) = (eal.clone(), plans.clone());
        let pool = memory.pool(plans[id].domain.as_deref())?.clone();
        let opening = aside.start(move || OpenPort::open(&eal, &plans[id], loaded.as_ref(), &pool))?;
        opened.push(unless_stopped(&mut signals, opening).await??);
    }
    ports::agree(&mut opened, &bundle.manager.workers)?;
    let workers = start_workers(&eal, &bundle, &memory, &cores, options.flow_idle)?;
    let shared = Arc::new(Shared {
        run_dir: run_dir.clone(),
        domains: memory.domains.clone(),
        workers: workers.count() as u32,
        ring: bundle.manager.ring,
        node: near,
        jail,
        journal: Arc::default(),
        engine,
    });
    let (reports_sender, reports) = unbounded_channel();
    let plan = CorePlan::new(cores, &bundle.manager);
    let fleet = Fleet::new(SLOTS, shared, reports_sender, plan);
    let requests = api::serve(run_dir.listen()?)?;
    let mut manager = Manager {
        generation: Arc::new(Generation::new(
            0,
            &bundle,
            &HashMap::new(),
            workers.count(),
            |_| Vec::new(),
        )),
        director: Director::new(workers.count()),
        serving: HashSet::new(),
        early: Vec::new(),
        rates: Rates::new(bundle.manager.ports.len(), SLOTS),
        name: bundle.index.name.clone(),
        bundle,
        fleet,
        history: History::default(),
        state: wire::ManagerState::Starting,
        began: Instant::now(),
        next_tick: Instant::now(),
        swept: Instant::now(),
        workers,
        reports,
        requests,
        aside,
        signals,
        ports: opened,
        pages_taken: 0,
        memory,
        host: options.host,
        exit_when_done: options.exit_when_done,
        scale_down_after: options.scale_down_after,
        scales_itself: false,
        held: Default::default(),
        last_message: 0,
        stopping: false,
        ingress_closed: false,
        run_dir,
        _eal: eal,
        _claims: claims,
    };
    match manager.bring_up(&plans, specs).await {
        Ok(()) => Ok(manager),
        Err(e) => {
            // In order, so that no process, socket or interface stays.
            let stopped = manager.shut_down().await;
            if let Err(second) = stopped {
                tracing::warn!("while stopping: {second}");
            }
            Err(e)
        }
    }
}

impl Manager {
    /// Starts the NFs, publishes the first tables, opens the ports.
    async fn bring_up(
        &mut self,
        plans: &[ports::Plan],
        specs: HashMap<String, Vec<InstanceSpec>>,
    ) -> Result<(), RunError> {
        let bundle = self.bundle.clone();
        let failed = |e: wire::ApiError| RunError::Unsupported(e.message);
        let placed = self.place_services(&bundle, specs).map_err(failed)?;
        self.await_ready(&placed).await.map_err(failed)?;
        let (workers, slots) = (self.workers.count(), slots_of(&bundle.manager, &placed));
        let programs = |firsts: &HashMap<&str, _>| {
            self.director
                .renew(&port_names(&bundle), &bundle.flows.programs, firsts)
        };
        self.generation = Arc::new(Generation::new(1, &bundle, &slots, workers, programs));
        self.serving = slots.into_values().collect();
        self.workers
            .send_all(|| Command::Publish(self.generation.clone()));
        let mut ports = Vec::new();
        for (id, (plan, open)) in plans.iter().zip(&mut self.ports).enumerate() {
            let pool = self.memory.pool(plan.domain.as_deref())?;
            ports.push(open.ends(id, plan, pool, &self.workers)?);
        }
        self.workers.open(ports);
        self.go_on_programming();
        Ok(())
    }
}

/// `main_cores`: DPDK's memory is on their node, as far as that has some.
fn eal_options(manager: &ManagerConfig, plans: &[ports::Plan], main_cores: Vec<u16>) -> EalOptions {
    EalOptions {
        huge_pages: match manager.hugepages {
            HugePages::Auto => dpdk::HugePages::Auto,
            HugePages::Off => dpdk::HugePages::Off,
            HugePages::Size(bytes) if bytes > HUGE_PAGE as u64 => dpdk::HugePages::Size(PageSize::Gib1),
            HugePages::Size(_) => dpdk::HugePages::Size(PageSize::Mib2),
        },
        memory_mib: manager.dpdk_mib(),
        // Addresses alone, until edits make use of them.
        spare_mib: manager.spare_dpdk_mib().min(MOST_SPARE_MIB),
        file_prefix: format!("onvm-{}", std::process::id()),
        pci: plans
            .iter()
            .filter_map(ports::Plan::pci_address)
            .map(str::to_owned)
            .collect(),
        main_cores: main_cores.into_iter().map(usize::from).collect(),
    }
}

/// What is made in another thread, unless a signal comes first. A driver that opens a device cannot be interrupted: it is given a
/// moment to come to its end, so that what it made is undone in order, and is left behind where it does not.
async fn unless_stopped<T>(signals: &mut Signals, made: oneshot::Receiver<T>) -> Result<T, RunError> {
    let stopped = || RunError::Unsupported(STOPPED.to_owned());
    tokio::pin!(made);
    tokio::select! {
        biased;
        () = signals.stop() => {}
        made = &mut made => return made.map_err(|_| stopped()),
    }
    if tokio::time::timeout(OPEN_DEADLINE, made).await.is_err() {
        tracing::warn!(
            "a port is still being opened: its driver does not return. It is left to end with this process."
        );
    }
    Err(stopped())
}

/// Reads the parts of captures that are needed beforehand. That may take long, and a FIFO may have no writer yet: a
/// signal ends it.
async fn load_captures(
    aside: &mut Aside,
    signals: &mut Signals,
    plans: &[ports::Plan],
) -> Result<Vec<Option<Chunk>>, RunError> {
    let mut loaded = Vec::new();
    for plan in plans {
        let Some(reading) = plan.captures().and_then(|c| c.read.clone()) else {
            loaded.push(None);
            continue;
        };
        let read = aside.start(move || reading.load())?;
        let chunk = tokio::select! {
            () = signals.stop() => return Err(RunError::Unsupported(STOPPED.to_owned())),
            read = read => read.map_err(|_| RunError::Unsupported(STOPPED.to_owned()))?,
        };
        loaded.push(chunk.map_err(|reason| plan.refuse(&reason))?);
    }
    Ok(loaded)
}

/// What the whole process is to be. Without it everything works, with fewer instances or less order after a hostile NF.
fn prepare_process() {
    // An instance takes six descriptors, and the limit that most systems begin with is 1024.
    let most = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: most.maximum,
        maximum: most.maximum,
    };
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
    // A process that an NF leaves behind becomes a child of this process, wherever it hid: see `Children::sweep`.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}
