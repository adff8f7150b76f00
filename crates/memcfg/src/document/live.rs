//! The live document, as the layers want it: one [`Settings`] for each worker.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam_channel::Receiver;
use memleak::LeakConfig;
use mempressure::GuardConfig;
use mempressure::{BudgetConfig, PressureConfig, ProjectConfig, WorkloadConfig};
use memtrack::{Current, Settings, TrackConfig};

use super::project::{Effective, Projects};
use super::{AlertsConfig, Config, ServeConfig, spec};
use crate::diagnostic::Diagnostic;
use crate::files::Sources;
use crate::live::{self, Candidate, LiveOptions, LiveStatus, Reload};
use crate::store::Snapshot;

/// The document of the memory layers, following its files until it is dropped.
///
/// Each call for settings makes a new observer with a bell of its own: one call for each worker.
#[derive(Debug)]
pub struct Live {
    inner: live::Live<Config>,
    projects: Projects,
}

impl Live {
    /// Loads the document and follows its files, with the defaults of [`LiveOptions`].
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn start(sources: Sources) -> Result<Self, Vec<Diagnostic>> {
        Self::start_with(sources, LiveOptions::default())
    }

    /// The same, with options of one's own.
    ///
    /// # Errors
    /// What is wrong with the document, when there is no good copy of a run before either.
    pub fn start_with(sources: Sources, options: LiveOptions) -> Result<Self, Vec<Diagnostic>> {
        let inner = live::Live::start(spec(), sources, options)?;
        Ok(Self { inner, projects: Projects::default() })
    }

    /// The document in force.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot<Config>> {
        self.inner.load()
    }

    /// What becomes of each edit. One channel: cloned receivers compete.
    #[must_use]
    pub fn reloads(&self) -> &Receiver<Reload> {
        self.inner.reloads()
    }

    /// What is in force, what lies on the disk, what was refused last, and who runs on which generation.
    #[must_use]
    pub fn status(&self) -> LiveStatus {
        self.inner.status()
    }

    /// What would be in force if the file at `path` held `bytes`, and what that changes. Nothing is changed by asking.
    ///
    /// # Errors
    /// What would be wrong with the document.
    pub fn candidate(
        &self,
        path: &Path,
        bytes: &[u8],
    ) -> Result<Candidate<Config>, Vec<Diagnostic>> {
        self.inner.candidate(path, bytes)
    }

    /// Looks at the files now, and answers once what is there has settled and been judged.
    pub fn check_now(&self) {
        self.inner.check_now();
    }

    /// The document as it is for the project in `directory`: its own file over this document. Never fails: see
    /// [`Effective::rejected`].
    #[must_use]
    pub fn for_project(&self, directory: &Path) -> Effective {
        self.projects.effective(&self.inner, directory)
    }

    /// `[track]`
    #[must_use]
    pub fn track(&self) -> Settings<TrackConfig> {
        self.section("track", |config| &config.track)
    }

    /// `[pressure]`
    #[must_use]
    pub fn pressure(&self) -> Settings<PressureConfig> {
        self.section("pressure", |config| &config.pressure)
    }

    /// `[budget]`
    #[must_use]
    pub fn budget(&self) -> Settings<BudgetConfig> {
        self.section("budget", |config| &config.budget)
    }

    /// `[project]`
    #[must_use]
    pub fn project(&self) -> Settings<ProjectConfig> {
        self.section("project", |config| &config.project)
    }

    /// `[workload]`
    #[must_use]
    pub fn workload(&self) -> Settings<WorkloadConfig> {
        self.section("workload", |config| &config.workload)
    }

    /// `[leak]`
    #[must_use]
    pub fn leak(&self) -> Settings<LeakConfig> {
        self.section("leak", |config| &config.leak)
    }

    /// `[alerts]`
    #[must_use]
    pub fn alerts(&self) -> Settings<AlertsConfig> {
        self.section("alerts", |config| &config.alerts)
    }

    /// `[serve]`
    #[must_use]
    pub fn serve(&self) -> Settings<ServeConfig> {
        self.section("serve", |config| &config.serve)
    }

    /// `[pressure]`, `[budget]`, `[project]` and `[workload]` together, from one generation.
    #[must_use]
    pub fn guard(&self) -> Settings<GuardConfig> {
        self.derived("guard", |config| GuardConfig {
            pressure: (*config.pressure).clone(),
            budget: (*config.budget).clone(),
            project: (*config.project).clone(),
            workload: (*config.workload).clone(),
        })
    }

    /// One part of the document, for an observer called `name`.
    #[must_use]
    pub fn section<S: Send + Sync + 'static>(
        &self,
        name: &str,
        part: fn(&Config) -> &Arc<S>,
    ) -> Settings<S> {
        let (view, bell) = self.inner.subscribe(name, part).into_parts();
        Settings::live(
            move || {
                let (generation, value) = view.load();
                Current { generation, value }
            },
            bell,
        )
    }

    /// What `make` makes of the document, once for each generation, for an observer called `name`.
    #[must_use]
    pub fn derived<S: Send + Sync + 'static>(
        &self,
        name: &str,
        make: fn(&Config) -> S,
    ) -> Settings<S> {
        let (view, bell) = self.inner.subscribe_whole(name).into_parts();
        let made = move |snapshot: &Snapshot<Config>| Current {
            generation: snapshot.generation,
            value: Arc::new(make(&snapshot.loaded.value)),
        };
        let cache = ArcSwap::from_pointee(made(&self.inner.load()));
        Settings::live(
            move || {
                let snapshot = view.load();
                let cached = cache.load();
                if cached.generation == snapshot.generation {
                    let value = Arc::clone(&cached.value);
                    return Current { generation: cached.generation, value };
                }
                // Two readers may both make it; both make the same.
                let fresh = made(&snapshot);
                let value = Arc::clone(&fresh.value);
                let generation = fresh.generation;
                cache.store(Arc::new(fresh));
                Current { generation, value }
            },
            bell,
        )
    }
}
