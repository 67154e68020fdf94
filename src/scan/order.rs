//! What may have the first rows, as far as ranges tell.

use std::cmp::Ordering;

use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::Column;

use crate::catalog::Covered;
use crate::model::KeyRange;

/// The columns that the catalog has ranges of.
const RANGED: [&str; 4] = ["date", "tenant_id", "event_type", "ts"];

/// An order of rows: of these columns, descending or not.
#[derive(Debug, Clone)]
pub struct Order(Vec<(&'static str, bool)>);

impl Order {
    /// The leading part of `order` that ranges say something about; `None` where that is nothing.
    pub fn of(order: &[PhysicalSortExpr]) -> Option<Self> {
        let ranged = |by: &PhysicalSortExpr| {
            let name = by.expr.downcast_ref::<Column>()?.name();
            let ranged = RANGED.into_iter().find(|ranged| *ranged == name)?;
            Some((ranged, by.options.descending))
        };
        let columns: Vec<_> = order.iter().map_while(ranged).collect();
        (!columns.is_empty()).then_some(Order(columns))
    }

    /// Those that may have the first rows come first.
    pub fn sorted<'a, T>(&self, items: &'a [T]) -> Vec<&'a T>
    where
        Covered<'a>: From<&'a T>,
    {
        let mut sorted: Vec<(Covered<'a>, &T)> = items.iter().map(|item| (Covered::from(item), item)).collect();
        sorted.sort_by(|(a, _), (b, _)| self.compare(a, b));
        sorted.into_iter().map(|(_, item)| item).collect()
    }

    fn compare(&self, a: &Covered<'_>, b: &Covered<'_>) -> Ordering {
        fn by<T: Ord>(descending: bool, a: &KeyRange<T>, b: &KeyRange<T>) -> Ordering {
            if descending { b.max.cmp(&a.max) } else { a.min.cmp(&b.min) }
        }
        let column = |&(name, descending): &(&str, bool)| match name {
            "date" => by(descending, &a.dates, &b.dates),
            "tenant_id" => by(descending, &a.tenants, &b.tenants),
            "event_type" => by(descending, &a.event_types, &b.event_types),
            _ => by(descending, &a.ts, &b.ts),
        };
        self.0.iter().map(column).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}
