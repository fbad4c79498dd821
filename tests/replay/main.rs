//! Histories of earlier versions still replay.
