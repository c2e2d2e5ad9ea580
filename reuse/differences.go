package reuse

import "github.com/tokencache/tokencache/internal/kernel"

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
	values       [][]float32 // of each site, [rows, order+1, width]
	at           [][]int32   // of each site: the position at which each row was computed last
	before       [][]int32   // in Newton's form, of each site, [rows, order]: the positions before at
	known        [][]uint8   // of each site: how many differences of each row exist, up to order+1
}

// newDifferences returns empty differences for a number of sites, each of the same number of rows.
func newDifferences(sites, rows, width, order int) *differences {
	d := &differences{order: order, width: width}
	for range sites {
		d.values = append(d.values, make([]float32, rows*(order+1)*width))
		d.at = append(d.at, make([]int32, rows))
		d.known = append(d.known, make([]uint8, rows))
	}
	return d
}

// differencesBytes returns the memory of newDifferences.
func differencesBytes(sites, rows, width, order int) int64 {
	return int64(sites) * int64(rows) * (int64(order+1)*int64(width)*4 + 4 + 1)
}

// newNewton returns empty differences in Newton's form.
func newNewton(sites, rows, width, order int) *differences {
	d := newDifferences(sites, rows, width, order)
	for range sites {
		d.before = append(d.before, make([]int32, rows*order))
	}
	return d
}

// newtonBytes returns the memory of newNewton.
func newtonBytes(sites, rows, width, order int) int64 {
	return differencesBytes(sites, rows, width, order) + int64(sites)*int64(rows)*int64(order)*4
}

// newLearned returns empty values whose forecasts have the weights of f. Its memory is that of
// differencesBytes for an order of f.Terms-1.
func newLearned(sites, rows, width int, f *Forecast) *differences {
	d := newDifferences(sites, rows, width, f.Terms-1)
	d.learned = f
	return d
}

func (d *differences) reset() {
	for i := range d.known {
		clear(d.known[i])
	}
}

// of returns d0 up to d_order of a row, one after another.
func (d *differences) of(site, row int) []float32 {
	n := (d.order + 1) * d.width
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
	values, w := d.of(site, row), d.width
	known := int(d.known[site][row])
	if p <= d.node(site, row, 0) || p < d.since {
		known = 0 // the positions began anew, or it is too early for differences
	}
	known = min(known, d.order)
	// Each difference, or value, gives its place to the new one, and becomes the next.
	for i := range known {
		di := values[i*w : (i+1)*w]
		if d.learned == nil {
			kernel.Sub(di, fresh, di)
			kernel.Scale(di, di, 1/gap(d.times, d.node(site, row, i), p))
		}
		swap(di, fresh)
	}
	copy(values[known*w:(known+1)*w], fresh)
	if d.before != nil && d.order > 0 {
		before := d.before[site][row*d.order : (row+1)*d.order]
		copy(before[1:], before)
		before[0] = d.at[site][row]
	}
	d.at[site][row], d.known[site][row] = int32(p), uint8(known+1)
}

// swap exchanges the contents of a and b.
func swap(a, b []float32) {
	for i, v := range a {
		a[i], b[i] = b[i], v
	}
}

// addForecast adds the forecast of a row at position p to dst.
func (d *differences) addForecast(dst []float32, site, row, p int) {
	values, w := d.of(site, row), d.width
	factor := float32(1)
	for i := range int(d.known[site][row]) {
		if d.learned != nil {
			kernel.AXPY(dst, d.learned.At(p)[i], values[i*w:(i+1)*w])
			continue
		}
		if i == 0 {
			kernel.Add(dst, dst, values[:w])
			continue
		}
		factor = d.factor(factor, site, row, i, p)
		kernel.AXPY(dst, factor, values[i*w:(i+1)*w])
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
	w := d.width
	return kernel.SumSquares(d.of(site, row)[last*w:(last+1)*w]) * factor * factor
}
