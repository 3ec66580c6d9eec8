"""Test data made to measure: shapes with exact distances and a virtual range scanner."""
