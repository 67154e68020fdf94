//! Recovery is running again: whatever dies wherever, the next run makes it whole.

mod compact;
mod delta;
mod faults;
mod kills;
mod lifecycle;
mod together;
mod vacuum;
