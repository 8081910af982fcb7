//! Tests of what ships beside the program: alerts, dashboards, the image. They need no lab.

mod alerts;
mod dashboards;
mod image;
