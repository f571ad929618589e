//! The worker on real parts: a broker, PostgreSQL and the program itself, asked through signed records and watched through
//! every topic it writes to.

mod ahead;
mod audit;
mod bench;
mod cleaning;
mod codes;
mod declared;
mod faults;
mod garbage;
mod held;
mod kinds;
mod leaving;
mod listing;
mod measures;
mod migrating;
mod outages;
mod races;
mod replays;
mod restoring;
mod secrets;
mod secured;
mod sessions;
mod tools;
mod world;
