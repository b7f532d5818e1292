//! Real GStreamer: sources, pipelines, their faults.
