// Package report shows what was measured: training curves, heat maps, overlays of computed tokens,
// and the comparison of cache methods as charts, tables and a page that opens offline.
//
// It is given numbers and images; it measures nothing and knows no model.
package report
