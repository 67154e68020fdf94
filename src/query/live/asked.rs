//! What the filters of a scan say of days, tenants and ids: "may match", and what they do not say keeps.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, RecordBatch, StringViewArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{Guarantee, LiteralGuarantee};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use jiff::civil::Date;

use crate::model::days_of_date;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The filters of one scan, over the SQL schema.
#[derive(Debug)]
pub struct Asked {
    /// All of them together.
    pub predicate: Option<Arc<dyn PhysicalExpr>>,
    /// Of events with other tenants none is asked for.
    pub tenants: Option<BTreeSet<String>>,
    pub event_ids: Option<BTreeSet<String>>,
    pruning: Option<PruningPredicate>,
    /// What reads nothing but the date, and so decides it.
    of_dates: Option<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

/// Events of which the days are known, and perhaps the tenant.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a> {
    /// Open where absent.
    pub first: Option<Date>,
    pub last: Option<Date>,
    pub tenant: Option<&'a str>,
}

impl Asked {
    pub fn new(state: &dyn Session, filters: &[Expr], schema: &SchemaRef) -> Result<Self> {
        let names = DFSchema::try_from(schema.clone())?;
        let physical = |filters: Vec<Expr>| -> Result<Option<Arc<dyn PhysicalExpr>>> {
            conjunction(filters).map(|filter| state.create_physical_expr(filter, &names)).transpose()
        };
        let predicate = physical(filters.to_vec())?;
        let pruning = predicate.clone().and_then(|predicate| {
            let built = PruningPredicateBuilder::new().with_file_schema(schema.clone()).try_build(predicate);
            built.inspect_err(|error| tracing::debug!("no day is pruned: {error}")).ok()
        });
        let guarantees = predicate.as_ref().map(LiteralGuarantee::analyze).unwrap_or_default();
        Ok(Asked {
            tenants: named(&guarantees, "tenant_id"),
            event_ids: named(&guarantees, "event_id"),
            of_dates: physical(filters.iter().filter(|filter| reads_only(filter, &["date"])).cloned().collect())?,
            pruning,
            predicate,
            schema: schema.clone(),
        })
    }

    /// Those of `days` on which events may match.
    pub fn days(&self, days: impl Iterator<Item = Date>) -> Result<BTreeSet<Date>> {
        let days: Vec<Date> = days.collect();
        let slots: Vec<Slot> =
            days.iter().map(|&day| Slot { first: Some(day), last: Some(day), tenant: None }).collect();
        let may_match = self.may_match(&slots)?;
        let are_asked = self.decide_dates(&days)?;
        let kept = days.into_iter().zip(may_match.into_iter().zip(are_asked)).filter(|(_, (may, is))| *may && *is);
        Ok(kept.map(|(day, _)| day).collect())
    }

    /// Whether each of `slots` may hold matching events.
    pub fn may_match(&self, slots: &[Slot]) -> Result<Vec<bool>> {
        match &self.pruning {
            Some(pruning) if !slots.is_empty() => pruning.prune(&Slots::new(slots)),
            _ => Ok(vec![true; slots.len()]),
        }
    }

    /// Whether no event before `first` or after `last` can match.
    pub fn lies_within(&self, first: Date, last: Date) -> Result<bool> {
        let (Ok(before), Ok(after)) = (first.yesterday(), last.tomorrow()) else { return Ok(false) };
        let outside = [
            Slot { first: None, last: Some(before), tenant: None },
            Slot { first: Some(after), last: None, tenant: None },
        ];
        Ok(self.may_match(&outside)? == [false, false])
    }

    fn decide_dates(&self, days: &[Date]) -> Result<Vec<bool>> {
        let Some(predicate) = &self.of_dates else { return Ok(vec![true; days.len()]) };
        let dates: ArrayRef = Arc::new(Date32Array::from_iter_values(days.iter().copied().map(days_of_date)));
        let batch = RecordBatch::try_new(Arc::new(self.schema.project(&[0])?), vec![dates])?;
        let matches = predicate.evaluate(&batch)?.into_array(days.len())?;
        let matches = datafusion::common::cast::as_boolean_array(&matches)?;
        Ok((0..days.len()).map(|row| matches.is_valid(row) && matches.value(row)).collect())
    }
}

/// Whether a filter reads some of these columns and no others.
pub fn reads_only(filter: &Expr, columns: &[&str]) -> bool {
    let read = filter.column_refs();
    !read.is_empty() && read.iter().all(|column| columns.contains(&column.name.as_str()))
}

/// The values outside which nothing matches.
fn named(guarantees: &[LiteralGuarantee], column: &str) -> Option<BTreeSet<String>> {
    let text = |value: &ScalarValue| Some(value.try_as_str()??.to_owned());
    guarantees
        .iter()
        .filter(|one| one.guarantee == Guarantee::In && one.column.name == column)
        .filter_map(|one| one.literals.iter().map(text).collect::<Option<BTreeSet<String>>>())
        .reduce(|all, one| all.intersection(&one).cloned().collect())
}

struct Slots {
    dates: [ArrayRef; 2],
    times: [ArrayRef; 2],
    tenants: ArrayRef,
    zeros: ArrayRef,
}

impl Slots {
    fn new(slots: &[Slot]) -> Self {
        let dates = |get: fn(&Slot) -> Option<Date>| -> ArrayRef {
            Arc::new(slots.iter().map(|slot| get(slot).map(days_of_date)).collect::<Date32Array>())
        };
        // An event's date is that of its time.
        let times = |get: fn(&Slot) -> Option<Date>, plus: i64| -> ArrayRef {
            let midnight = |date| i64::from(days_of_date(date)) * MICROS_PER_DAY;
            let times = slots.iter().map(|slot| get(slot).map(|date| midnight(date) + plus));
            Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        Slots {
            dates: [dates(|slot| slot.first), dates(|slot| slot.last)],
            times: [times(|slot| slot.first, 0), times(|slot| slot.last, MICROS_PER_DAY - 1)],
            tenants: Arc::new(slots.iter().map(|slot| slot.tenant).collect::<StringViewArray>()),
            zeros: Arc::new(UInt64Array::from_value(0, slots.len())),
        }
    }

    fn bound(&self, column: &Column, side: usize) -> Option<ArrayRef> {
        match column.name.as_str() {
            "date" => Some(self.dates[side].clone()),
            "ts" => Some(self.times[side].clone()),
            "tenant_id" => Some(self.tenants.clone()),
            _ => None,
        }
    }
}

impl PruningStatistics for Slots {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(column, 0)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(column, 1)
    }

    fn num_containers(&self) -> usize {
        self.zeros.len()
    }

    /// Keys and times are never null.
    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        matches!(column.name.as_str(), "date" | "ts" | "tenant_id" | "event_type" | "event_id")
            .then(|| self.zeros.clone())
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
