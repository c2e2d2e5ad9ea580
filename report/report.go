// Package report draws what was measured: curves of training, heat maps, and the comparison of cache methods as charts, tables and a page that opens offline.
//
// It is given numbers and makes pictures of them; it measures nothing and knows no model.
package report
