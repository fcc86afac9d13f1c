//! Whether a job could ever run.

use berth_model::Resources;

use crate::{Engine, PlacementId, Refusal};

impl Engine {
    /// Refuses what no node could ever hold. While an executor's nodes are not known yet, all is possible.
    pub(crate) fn check_feasible(
        &self,
        placement: PlacementId,
        executor: &str,
        needs: &Resources,
    ) -> Result<(), Refusal> {
        let state = self.nodes.executor(self.nodes.executor_of(placement));
        if !state.is_some_and(|state| state.known) {
            return Ok(());
        }
        let nodes = self.nodes.nodes_of(placement);
        let totals = || nodes.iter().filter_map(|&id| self.nodes.node(id)).map(|node| node.total);
        if totals().any(|total| needs.fits_in(&total)) {
            return Ok(());
        }
        let executor = executor.to_owned();
        for &(name, asked) in self.nodes.named_of(placement) {
            let most = self.nodes.most_named(placement, name);
            if most < asked {
                let name = self.names.name(name).to_owned();
                return Err(Refusal::NoSuchResource { executor: executor.to_owned(), name, asked, most });
            }
        }
        match totals().max_by_key(|total| (met(needs, total), total.cpu_millis, total.memory_bytes)) {
            Some(largest) => Err(Refusal::TooLarge { executor, needs: *needs, largest }),
            None => {
                let wish = self.nodes.wish_of(placement);
                let labels = wish.into_iter().flat_map(|wish| &wish.constraints);
                let labels = labels.map(|(key, value)| format!("{key}={value}"));
                let named = self.named_amounts(placement);
                let named = (!named.is_empty()).then(|| berth_model::format_named(&named));
                let constraints = labels.chain(named).collect::<Vec<_>>().join(", ");
                Err(Refusal::NoSuchNode { executor, constraints })
            }
        }
    }
}

/// How many of the wishes `total` meets.
fn met(needs: &Resources, total: &Resources) -> u32 {
    u32::from(needs.cpu_millis <= total.cpu_millis)
        + u32::from(needs.memory_bytes <= total.memory_bytes)
        + u32::from(needs.gpus <= total.gpus)
}
