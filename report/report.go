// Package report draws what was measured: curves of training, and charts of speed and quality.
//
// It is given numbers and makes pictures of them; it measures nothing and knows no model.
package report
