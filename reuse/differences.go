package reuse

import (
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/tensor"
)

// differences keeps, for every row of every site, what was computed of it last, and the finite
// differences (Taylor factors) over the positions at which it was computed:
//
//	d0 = f(p)    d1 = (d0 - d0') / (p - p')    d2 = (d1 - d1') / (p - p')
//
// where the primes are what was kept at the position p' before. Its forecast at a later position q
// is the Taylor series d0 + d1·h + d2·h²/2 with h = q - p, as far as differences exist. Rows age
// separately. With times the positions in these are the times of the positions.
//
// In Newton's form (newNewton) they are the divided differences over the last positions p, p', p”,
//
//	d0 = f(p)    d1 = (d0 - d0') / (p - p')    d2 = (d1 - d1') / (p - p'')
//
// and the forecast d0 + d1·(q-p) + d2·(q-p)(q-p') is the polynomial through the values there. Up to
// order 1 both are the same, bit for bit.
//
// With learned weights (newLearned) they are no differences but the last values themselves, d_i the
// i-th last, and a forecast is their weighted sum.
type differences struct {
	order, width int
	since        int         // the first position that makes differences with earlier ones
	weights      [][]float32 // of each h and difference, in place of the Taylor series'; nil for that
	times        []float32   // of each position: see Plan.clock; nil for positions themselves
	between      [][]float32 // with times, in place of weights: of each position to and from, [to·steps+from]
	learned      *Forecast   // weights of the last values; nil for differences
	packed       bool        // values are in bfloat16, as kernel.PackPairs writes them
	stride       int         // floats that one value of a row takes: width, or half of it
	values       [][]float32 // of each site, [rows, order+1, stride]
	at           [][]int32   // of each site: the position at which each row was computed last
	before       [][]int32   // in Newton's form, of each site, [rows, order]: the positions before at
	known        [][]uint8   // of each site: how many differences of each row exist, up to order+1
}

// newDifferences returns empty differences for a number of sites, each of the same number of rows,
// kept in a number format.
func newDifferences(format tensor.DType, sites, rows, width, order int) *differences {
	d := &differences{order: order, width: width}
	d.packed, d.stride = packs(format, width)
	for range sites {
		d.values = append(d.values, make([]float32, rows*(order+1)*d.stride))
		d.at = append(d.at, make([]int32, rows))
		d.known = append(d.known, make([]uint8, rows))
	}
	return d
}

// packs reports whether rows are kept in bfloat16, two elements in a float's place, and how many
// floats each takes. Rows of odd width are not.
func packs(format tensor.DType, width int) (packed bool, stride int) {
	if format == tensor.BF16 && width%2 == 0 {
		return true, kernel.PairsLen(width)
	}
	return false, width
}

// differencesBytes returns the memory of newDifferences.
func differencesBytes(format tensor.DType, sites, rows, width, order int) int64 {
	_, stride := packs(format, width)
	return int64(sites) * int64(rows) * (int64(order+1)*int64(stride)*4 + 4 + 1)
}

// newNewton returns empty differences in Newton's form.
func newNewton(format tensor.DType, sites, rows, width, order int) *differences {
	d := newDifferences(format, sites, rows, width, order)
	for range sites {
		d.before = append(d.before, make([]int32, rows*order))
	}
	return d
}

// newtonBytes returns the memory of newNewton.
func newtonBytes(format tensor.DType, sites, rows, width, order int) int64 {
	return differencesBytes(format, sites, rows, width, order) + int64(sites)*int64(rows)*int64(order)*4
}

// newLearned returns empty values whose forecasts have the weights of f. Its memory is that of
// differencesBytes for an order of f.Terms-1.
func newLearned(format tensor.DType, sites, rows, width int, f *Forecast) *differences {
	d := newDifferences(format, sites, rows, width, f.Terms-1)
	d.learned = f
	return d
}

func (d *differences) reset() {
	for i := range d.known {
		clear(d.known[i])
	}
}

// of returns d0 up to d_order of a row, one after another, as they are kept.
func (d *differences) of(site, row int) []float32 {
	n := (d.order + 1) * d.stride
	return d.values[site][row*n : (row+1)*n]
}

// node returns the position from which the divisor of the (i+1)-th difference of a row is counted,
// and the (i+1)-th factor of Newton's form: the one at which the row was computed last, or with
// Newton's form i times before that.
func (d *differences) node(site, row, i int) int {
	if i == 0 || d.before == nil {
		return int(d.at[site][row])
	}
	return int(d.before[site][row*d.order+i-1])
}

// record takes in fresh, what was computed of a row at position p, and overwrites it.
func (d *differences) record(site, row, p int, fresh []float32) {
	values, w := d.of(site, row), d.stride
	known := int(d.known[site][row])
	if p <= d.node(site, row, 0) || p < d.since {
		known = 0 // the positions began anew, or it is too early for differences
	}
	known = min(known, d.order)
	if d.learned != nil && !d.packed {
		copy(values[w:(known+1)*w], values[:known*w])
		copy(values[:w], fresh)
	} else {
		// Each difference gives its place to the new one, and becomes the next.
		for i := range known {
			di := values[i*w : (i+1)*w]
			scale := float32(1)
			if d.learned == nil {
				scale = 1 / gap(d.times, d.node(site, row, i), p)
			}
			if d.packed {
				d.replacePacked(di, fresh, scale)
			} else {
				kernel.Difference(di, fresh, scale)
			}
		}
		if last := values[known*w : (known+1)*w]; d.packed {
			kernel.PackPairs(last, fresh)
		} else {
			copy(last, fresh)
		}
	}
	if d.before != nil && d.order > 0 {
		before := d.before[site][row*d.order : (row+1)*d.order]
		copy(before[1:], before)
		before[0] = d.at[site][row]
	}
	d.at[site][row], d.known[site][row] = int32(p), uint8(known+1)
}

// replacePacked keeps fresh in di's place, and makes fresh the next difference, or with learned
// weights what di was.
func (d *differences) replacePacked(di, fresh []float32, scale float32) {
	const most = 256
	var was [most]float32
	for half := d.stride; len(di) > 0; {
		n := min(len(di), most)
		at := half - len(di)
		lo, hi := fresh[at:at+n], fresh[half+at:half+at+n]
		old := was[:n]
		copy(old, di)
		kernel.PackPairHalves(di[:n], lo, hi)
		next := scale
		if d.learned != nil {
			clear(lo)
			clear(hi)
		} else {
			kernel.Scale(lo, lo, scale)
			kernel.Scale(hi, hi, scale)
			next = -scale
		}
		kernel.AXPYPairHalves(lo, hi, next, old)
		di = di[n:]
	}
}

// addForecast adds the forecast of a row at position p to dst.
func (d *differences) addForecast(dst []float32, site, row, p int) {
	values, w := d.of(site, row), d.stride
	factor := float32(1)
	for i := range int(d.known[site][row]) {
		value := values[i*w : (i+1)*w]
		if d.learned != nil {
			factor = d.learned.At(p)[i]
		} else if i > 0 {
			factor = d.factor(factor, site, row, i, p)
		}
		switch {
		case d.packed:
			kernel.AXPYPairs(dst, factor, value)
		case d.learned == nil && i == 0:
			kernel.Add(dst, dst, value)
		default:
			kernel.AXPY(dst, factor, value)
		}
	}
}

// factor returns what the i-th difference of a row is multiplied by in its forecast at position p,
// given the factor of the difference before it.
func (d *differences) factor(before float32, site, row, i, p int) float32 {
	node := d.node(site, row, i-1)
	switch {
	case d.between != nil:
		return d.between[p*len(d.times)+node][i]
	case d.weights != nil:
		return d.weights[p-node][i]
	case d.before == nil:
		return before * (gap(d.times, node, p) / float32(i))
	}
	return before * gap(d.times, node, p)
}

// lastTerm returns the squared size of the last term of a row's forecast at position p: what the
// forecast differs by from that of an order less. Of a row with one value it is the size of that
// value as if it changed by all of itself at each step.
func (d *differences) lastTerm(site, row, p int) float32 {
	factor, last := float32(1), int(d.known[site][row])-1
	if last <= 0 {
		last, factor = 0, gap(d.times, d.node(site, row, 0), p)
	}
	for i := 1; i <= last; i++ {
		factor = d.factor(factor, site, row, i, p)
	}
	w := d.stride
	term := d.of(site, row)[last*w : (last+1)*w]
	if d.packed {
		return kernel.SumSquaresPairs(term) * factor * factor
	}
	return kernel.SumSquares(term) * factor * factor
}
