//! Recovery is running again: whatever dies wherever, the next run makes it whole.

mod compact;
mod delta;
mod faults;
mod kills;
mod lifecycle;
mod rebuild;
mod together;
mod vacuum;
