//! The controllers of one host: observe, plan, act
