//! Gateways on real parts: brokers, PostgreSQL and the program itself, as many of it as a case wants. Records are produced and rows
//! are written by the test, so that order, gaps and doubles are its own choice; what a worker makes of requests is tested elsewhere.

mod anew;
mod away;
mod bench;
mod bounds;
mod bytes;
mod ends;
mod flood;
mod forged;
mod fuzz;
mod hop;
mod hostile;
mod http;
mod kit;
mod leaderless;
mod limits;
mod live;
mod measures;
mod nginx;
mod parsers;
mod replies;
mod resume;
mod rewound;
mod routes;
mod secrets;
mod slow;
mod times;
mod vanished;
