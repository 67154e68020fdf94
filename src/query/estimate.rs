//! What an answer will cost and what it has cost, in requests, bytes and dollars.

use serde::Serialize;

use super::RequestCounts;
use super::ladder::size;
use crate::error::{Error, Kind, Result};
use crate::model::{Prices, StorageClass, Usd};
use crate::scan::{PlannedFiles, Taken};
use crate::store::Requests;

/// What money is counted with.
#[derive(Debug, Clone)]
pub struct Tariff {
    pub prices: Prices,
    /// Whether bytes that are read leave the region and are paid for.
    pub pays_egress: bool,
}

impl Default for Tariff {
    fn default() -> Self {
        Tariff { prices: Prices::built_in(), pays_egress: false }
    }
}

/// What a query may take at most; checked before the first data is read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Budget {
    pub cost: Option<Usd>,
    pub bytes: Option<u64>,
}

/// What reading the data of a query is expected to take, the planning that is already done included. At most, where the
/// store keeps a file's footer only with the file: then all of it counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    pub files: u64,
    pub requests: u64,
    pub bytes: u64,
    pub cost_usd: Usd,
}

impl Estimate {
    pub fn new(tariff: &Tariff, planned: &PlannedFiles, spent: &Requests) -> Self {
        let cost = planned.by_class.iter().map(|(class, taken)| reading(tariff, *class, taken)).sum::<Usd>();
        Estimate {
            files: planned.files,
            requests: planned.requests + spent.list + spent.get + spent.head,
            bytes: planned.bytes + spent.bytes_read,
            cost_usd: cost + looking(tariff, spent),
        }
    }

    /// Refuses what would pass the budget, naming the figure that would not.
    pub fn check(&self, budget: &Budget) -> Result<()> {
        if let Some(most) = budget.bytes.filter(|&most| self.bytes > most) {
            let message = format!("the query would read {}, more than the {} it may", size(self.bytes), size(most));
            let passes = format!("--max-bytes {} would pass", self.bytes);
            return Err(Error::new(Kind::OverBudget, message).code("max-bytes").hint(passes));
        }
        if let Some(most) = budget.cost.filter(|&most| self.cost_usd > most) {
            let message = format!("the query would cost {}, more than the {most} it may", self.cost_usd);
            let passes = format!("--max-cost {} would pass", self.cost_usd.round_up());
            return Err(Error::new(Kind::OverBudget, message).code("max-cost").hint(passes));
        }
        Ok(())
    }
}

/// Reading data of a class, which is readable.
fn reading(tariff: &Tariff, class: StorageClass, taken: &Taken) -> Usd {
    let egress = if tariff.pays_egress { tariff.prices.egress(taken.bytes) } else { Usd::default() };
    tariff.prices.get(class, taken.requests) + tariff.prices.instant_retrieval(class, taken.bytes) + egress
}

/// Reading the catalog, which lies in STANDARD, and looking at objects.
fn looking(tariff: &Tariff, spent: &Requests) -> Usd {
    let catalog = Taken { files: 0, requests: spent.get + spent.head, bytes: spent.bytes_read };
    tariff.prices.list(spent.list) + reading(tariff, StorageClass::Standard, &catalog)
}

/// What was spent: on planning as it was, on data in the proportions that were planned for its classes.
pub fn spent(tariff: &Tariff, planned: &PlannedFiles, planning: &Requests, data: &Requests) -> Usd {
    let share = |part: u64, of: u64, amount: u64| match of {
        0 => 0,
        of => (part as f64 / of as f64 * amount as f64).round() as u64,
    };
    let classes = planned.by_class.iter().map(|(class, taken)| {
        let requests = share(taken.requests, planned.requests, data.get);
        let bytes = share(taken.bytes, planned.bytes, data.bytes_read);
        reading(tariff, *class, &Taken { files: taken.files, requests, bytes })
    });
    classes.sum::<Usd>() + looking(tariff, planning)
}

impl From<Requests> for RequestCounts {
    fn from(requests: Requests) -> Self {
        RequestCounts { list: requests.list, get: requests.get, head: requests.head }
    }
}
