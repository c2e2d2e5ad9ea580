package chart

import (
	"math"
	"strconv"
)

// Axis is a range of values. Min stands at the left or at the bottom and may be above Max.
type Axis struct {
	Min, Max float64
	Log      bool // equal ratios have equal lengths; both ends are positive
	Whole    bool // only whole numbers have ticks
}

// Tick is a value of an axis with its name.
type Tick struct {
	Value float64
	Label string
}

// Around returns an axis that holds low to high and leaves the share pad of the range free at
// both ends, but not below 0 where no value is. It has a length even if low is high.
func Around(low, high, pad float64) Axis {
	if high <= low {
		low, high = low-max(math.Abs(low), 1)*0.1, high+max(math.Abs(high), 1)*0.1
	}
	free := (high - low) * pad
	a := Axis{Min: low - free, Max: high + free}
	if low >= 0 {
		a.Min = max(a.Min, 0)
	}
	return a
}

// At returns where a value is: 0 at Min, 1 at Max.
func (a Axis) At(v float64) float64 {
	if a.Log {
		return math.Log(v/a.Min) / math.Log(a.Max/a.Min)
	}
	return (v - a.Min) / (a.Max - a.Min)
}

// Ticks returns rising round numbers that cut the axis into at most about n parts: on a linear
// axis 1, 2 or 5 times a power of ten apart, on a logarithmic one 1, 2 and 5 times powers of ten
// or, if it spans too little or too much for those, the linear ones or powers alone.
func (a Axis) Ticks(n int) []Tick {
	n = max(n, 1)
	low, high := min(a.Min, a.Max), max(a.Min, a.Max)
	if a.Log {
		if ticks := logTicks(low, high, n); len(ticks) >= 3 {
			return ticks
		}
	}
	step := roundStep((high - low) / float64(n))
	if a.Whole {
		step = max(step, 1)
	}
	decimals := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	var all []Tick
	first := math.Ceil(low/step - 1e-9)
	for i := first; i*step <= high+step*1e-9 && i-first <= float64(4*n+4); i++ {
		v := i*step + 0 // not -0
		all = append(all, Tick{v, strconv.FormatFloat(v, 'f', decimals, 64)})
	}
	return all
}

// roundStep returns the smallest number that is 1, 2 or 5 times a power of ten and at least v.
func roundStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if f*power >= v*0.999 {
			return f * power
		}
	}
	return 10 * power
}

func logTicks(low, high float64, n int) []Tick {
	digits := []float64{1, 2, 5}
	decades := math.Log10(high / low)
	if 3*decades > float64(n) {
		digits = digits[:1]
	}
	every := max(1, math.Ceil(decades/float64(n)))
	var all []Tick
	for e := math.Floor(math.Log10(low) / every); e*every <= math.Log10(high)+1e-9; e++ {
		for _, digit := range digits {
			v := digit * math.Pow(10, e*every)
			if v >= low*(1-1e-9) && v <= high*(1+1e-9) {
				all = append(all, Tick{v, strconv.FormatFloat(v, 'g', 3, 64)})
			}
		}
	}
	return all
}
