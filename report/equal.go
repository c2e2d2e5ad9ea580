package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/eval"
)

// Level is what the methods have at one cost: of each method its best setting that costs no more.
type Level struct {
	// Target is the cost: a speed-up in times the uncached model, or network evaluations (NFE).
	Target float64
	Cells  []*Cell // by falling PSNR to the uncached images
	Lacks  []Lack  // the methods that have no setting there
}

// Lack is a method without a setting at a cost, and its nearest one.
type Lack struct {
	Method string
	Has    *Cell
}

const (
	// timeSlack is how far below a target a speed-up may be: what rounds to it.
	timeSlack = 0.005
	// nfeSlack is the share by which NFE may exceed a target, since steps are whole.
	nfeSlack = 0.05
)

// EqualTime returns what the methods have at each of the comparison's speeds, by wall-clock time:
// of each method the setting nearest to its reference among those that are at least that fast. The
// reference of a solver without a cache is the converged solution, that of a policy the uncached
// images.
func (r *Results) EqualTime() []Level {
	var all []Level
	for _, speed := range r.speeds() {
		all = append(all, r.level(speed,
			func(c *Cell) bool { return c.Speedup >= speed-timeSlack },
			func(a, b *Cell) int { return cmp.Compare(b.Speedup, a.Speedup) }))
	}
	return all
}

// EqualNFE returns likewise what the methods have at most as many network evaluations as the
// uncached model's divided by each speed.
func (r *Results) EqualNFE() []Level {
	base := r.baseline()
	if base == nil || base.NFE <= 0 {
		return nil
	}
	var all []Level
	for _, speed := range r.speeds() {
		target := base.NFE / speed
		all = append(all, r.level(target,
			func(c *Cell) bool { return c.NFE > 0 && c.NFE <= target*(1+nfeSlack) },
			func(a, b *Cell) int { return cmp.Compare(a.NFE, b.NFE) }))
	}
	return all
}

// speeds are the comparison's, from slow to fast; where it names none, those that cells were made
// for.
func (r *Results) speeds() []float64 {
	list := slices.Clone(r.Speeds)
	for i := range r.Cells {
		if w := r.Cells[i].Wanted; len(r.Speeds) == 0 && w > 0 {
			list = append(list, w)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// level returns the best cell of each method that fits a target. order puts a method's cells from
// cheap to dear.
func (r *Results) level(target float64, fits func(*Cell) bool, order func(a, b *Cell) int) Level {
	l := Level{Target: target}
	for _, s := range r.series() {
		made := slices.DeleteFunc(slices.Clone(s.cells), func(c *Cell) bool { return !c.made() })
		if len(made) == 0 {
			continue
		}
		var best *Cell
		for _, c := range made {
			if fits(c) && (best == nil || c.followed() > best.followed()) {
				best = c
			}
		}
		if best == nil {
			l.Lacks = append(l.Lacks, Lack{s.Name, slices.MinFunc(made, order)})
			continue
		}
		l.Cells = append(l.Cells, best)
	}
	slices.SortStableFunc(l.Cells, func(a, b *Cell) int {
		return cmp.Compare(meanOf(b.PSNRUncached), meanOf(a.PSNRUncached))
	})
	return l
}

// followed is the mean PSNR to the reference that a cell follows: of a solver the converged
// solution, else the uncached images.
func (c *Cell) followed() float64 {
	if c.Sampling != nil && c.PSNRConverged != nil {
		return c.PSNRConverged.Mean
	}
	return meanOf(c.PSNRUncached)
}

// equalTable is one of the two tables at equal cost, for the page and for text.
type equalTable struct {
	Title, Note string
	Head        []string
	Levels      []equalLevel
}

// equalLevel is a Level as texts.
type equalLevel struct {
	Title string
	Rows  [][]string // the first column is the method, the second the policy
	Lacks string     // a sentence, empty if there are none
}

var equalHead = []string{
	"method", "policy", "NFE", "fewer FLOPs", "speed-up", "PSNR to uncached", "PSNR to converged",
	"Fréchet distance", "its change", "of their class",
}

const equalNote = "Of each method the setting nearest to its reference: of solvers the converged solution, of " +
	"policies the uncached images. NFE is FLOPs in passes of the uncached model; PSNR is mean / 5th percentile / " +
	"minimum in dB; the change of the Fréchet distance from the uncached model's has its paired 95 % interval."

// equalTables returns the tables that there are numbers for.
func (r *Results) equalTables() []equalTable {
	inTime := equalTable{Title: "At equal wall-clock time", Note: equalNote, Head: equalHead}
	for _, l := range r.EqualTime() {
		title := fmt.Sprintf("At least %g times as fast as the uncached model", l.Target)
		inTime.add(r, l, title, func(c *Cell) string { return "at most " + times(c.Speedup) })
	}
	inNFE := equalTable{Title: "At equal NFE", Note: equalNote, Head: equalHead}
	for _, l := range r.EqualNFE() {
		title := fmt.Sprintf("At most %.1f evaluations (and %.0f %% more)", l.Target, 100*nfeSlack)
		inNFE.add(r, l, title, func(c *Cell) string { return fmt.Sprintf("at least %.1f", c.NFE) })
	}
	return slices.DeleteFunc([]equalTable{inTime, inNFE}, func(t equalTable) bool { return len(t.Levels) == 0 })
}

// add adds a level, unless there is nothing in it.
func (t *equalTable) add(r *Results, l Level, title string, has func(*Cell) string) {
	if len(l.Cells)+len(l.Lacks) == 0 {
		return
	}
	level := equalLevel{Title: title}
	base := r.baseline()
	if base != nil {
		level.Rows = append(level.Rows, base.equalRow(base))
	}
	for _, c := range l.Cells {
		level.Rows = append(level.Rows, c.equalRow(base))
	}
	for i, lack := range l.Lacks {
		separator := "; "
		if i == 0 {
			separator = "No setting there: "
		}
		level.Lacks += fmt.Sprintf("%s%s (%s, %s)", separator, lack.Method, has(lack.Has), lack.Has.Policy)
	}
	if level.Lacks != "" {
		level.Lacks += "."
	}
	t.Levels = append(t.Levels, level)
}

// equalRow is a cell as a row of the tables at equal cost.
func (c *Cell) equalRow(base *Cell) []string {
	row := make([]string, len(equalHead))
	row[0], row[1], row[2] = c.Name(), c.Policy, unknown(c.NFE, "%.1f")
	row[3], row[4] = times(c.FLOPReduction()), times(c.Speedup)
	if c.Disturbed != "" {
		row[4] += disturbedMark
	}
	if c != base {
		row[5] = threeOf(c.PSNRUncached)
		change, interval, ok := strings.Cut(c.frechetChange(base), ", ")
		if row[8] = change; ok {
			row[8] += " (" + interval + ")"
		}
	}
	row[6] = threeOf(c.PSNRConverged)
	if c.Frechet != nil {
		row[7] = short(c.Frechet.Value)
	}
	if c.Agreement != nil {
		row[9] = fmt.Sprintf("%.1f %%", 100*c.Agreement.Value)
	}
	for i, text := range row {
		if text == "" {
			row[i] = "–"
		}
	}
	return row
}

// unknown formats a number, "" if it is 0.
func unknown(v float64, format string) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf(format, v)
}

// meanOf is the mean of a fidelity, below all numbers if it was not measured.
func meanOf(f *eval.Fidelity) float64 {
	if f == nil {
		return math.Inf(-1)
	}
	return f.Mean
}

// threeOf writes the mean, 5th percentile and minimum of a fidelity, nothing if it was not
// measured.
func threeOf(f *eval.Fidelity) string {
	if f == nil {
		return ""
	}
	return fmt.Sprintf("%.1f / %.1f / %.1f", f.Mean, f.P5, f.Min)
}

// levelFile is a Level in results.json.
type levelFile struct {
	Target float64    `json:"target"`
	Cells  []cellName `json:"cells"`
	Lacks  []cellName `json:"lacks,omitempty"` // of each method without a setting there, the nearest one
}

// cellName names a cell.
type cellName struct {
	Method string `json:"method"`
	Policy string `json:"policy"`
	DType  string `json:"dtype,omitempty"`
}

func (r *Results) nameOf(c *Cell) cellName { return cellName{c.Method, c.Policy, c.dtype(r)} }

func (r *Results) levelFiles(levels []Level) []levelFile {
	var list []levelFile
	for _, l := range levels {
		f := levelFile{Target: l.Target, Cells: []cellName{}}
		for _, c := range l.Cells {
			f.Cells = append(f.Cells, r.nameOf(c))
		}
		for _, lack := range l.Lacks {
			f.Lacks = append(f.Lacks, r.nameOf(lack.Has))
		}
		list = append(list, f)
	}
	return list
}
