//! The chart on the running system. These disturb it, so `hack/test/e2e.sh` runs them after all others, one by one.

mod life;
mod pages;
mod rolling;
mod watched;
