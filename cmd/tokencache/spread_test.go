package main

import (
	"slices"
	"testing"
)

// TestSpread holds that numbers rise within bounds, and that every tenth of them is met.
func TestSpread(t *testing.T) {
	for _, c := range []struct{ n, count int }{{1000, 200}, {200, 20}, {1000, 1000}, {7, 3}, {10, 0}, {5, 9}, {1000, 100}} {
		list := spread(c.n, c.count)
		if !slices.IsSorted(list) || list[len(list)-1] >= c.n || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("%d of %d: %v", c.count, c.n, list)
		}
		classes := map[int]int{}
		for _, i := range list {
			classes[i%10]++
		}
		if len(list) >= 20 && len(classes) != 10 {
			t.Errorf("%d of %d: only classes %v", c.count, c.n, classes)
		}
	}
}
