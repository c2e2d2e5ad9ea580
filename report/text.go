package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// How numbers are written for readers.

// times writes a speed-up.
func times(v float64) string { return fmt.Sprintf("%.2f×", v) }

// short writes a number with about three digits and no exponent where one can do without.
func short(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e7:
		return fmt.Sprintf("%.3g", v)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// signed writes a number with its sign and one decimal; the minus is a true one, not a hyphen.
func signed(v float64) string {
	return strings.ReplaceAll(fmt.Sprintf("%+.1f", v), "-", "−")
}

// bytesText writes a number of bytes in megabytes, or in smaller units where those would be 0.
func bytesText(n int64) string {
	switch v := float64(n); {
	case n == 0:
		return "no cache"
	case v < 1e3:
		return fmt.Sprintf("%d B", n)
	case v < 1e5:
		return fmt.Sprintf("%.1f kB", v/1e3)
	default:
		return short(v/1e6) + " MB"
	}
}

// duration writes a number of seconds.
func duration(v float64) string {
	switch {
	case v >= 7200:
		return fmt.Sprintf("%.1f h", v/3600)
	case v >= 120:
		return fmt.Sprintf("%.0f min", v/60)
	}
	return short(v) + " s"
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// bySpeed sorts indices of cells by rising speed-up.
func (r *Results) bySpeed(indices []int) {
	slices.SortStableFunc(indices, func(a, b int) int { return cmp.Compare(r.Cells[a].Speedup, r.Cells[b].Speedup) })
}
