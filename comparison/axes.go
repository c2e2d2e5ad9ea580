package comparison

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// The two axes along which cache methods differ. Most published methods differ from each other in
// both, so that comparing them does not say which of the two makes the difference.
var (
	axisComputed = []string{"uniform interval", "planned by DP", "threshold-driven", "tokens"}
	axisRest     = []string{
		"held", "Taylor 1", "Taylor 2", "Newton 2", "Hermite 2", "Chebyshev", "last block, Taylor 2",
		"learned weights", "token forecasts, keys too",
	}
)

// combination is how a place of the crossing is expressed: one of ladder, planned, method and why.
type combination struct {
	ladder  []string // policies, from slow to fast
	planned string   // a policy's parameters to which the planned steps are added
	method  string   // of allMethods, which makes or has a policy for each speed
	why     string   // there is none
}

// crossing returns the combinations, [computed][rest].
func crossing() [][]combination {
	periods := []float64{2, 3, 4, 5, 6, 7, 8}
	every := func(format string) combination { return combination{ladder: numbered(format, periods...)} }
	none := func(why string) combination { return combination{why: why} }
	planned := func(parameters string) combination {
		return combination{planned: "tokencache:ratio=0," + parameters}
	}
	change := func(order int) combination {
		return combination{ladder: numbered(fmt.Sprintf("dbcache:front=1,back=0,order=%d,warmup=3,threshold=%%g", order),
			thresholds...)}
	}
	some := func(parameters string) combination { return combination{ladder: tokensWith(parameters)} }
	const (
		whole   = "all tokens are computed, or none"
		own     = "the Chebyshev forecast has its own growing period"
		fixed   = "no method forecasts so at steps that a threshold chooses"
		byToken = "a forecast of whole steps, which no token can replace"
	)
	return [][]combination{
		{
			every("fora:n=%g"), every("taylorseer:order=1,n=%g"), every("taylorseer:order=2,n=%g"),
			every("tokencache:ratio=0,order=2,k=%g"), every("hicache:n=%g"), every("spectrum:flex=0,window=%g"),
			every("dpcache:n=%g"), {method: reuse.L2PMethod}, none(whole),
		},
		{
			planned("order=0"), planned("order=1"), planned("order=2,basis=taylor"), planned("order=2"),
			planned("order=2,basis=hermite"), none(own), {method: reuse.DPCacheMethod}, {method: learnedResidual},
			none(whole),
		},
		{
			change(0), change(1), change(2), none(fixed), none(fixed), none(own), none(fixed), none(fixed),
			none(whole),
		},
		{
			some("keys=cached,order=0"), some("keys=cached,order=1"), some("keys=cached,order=2,basis=taylor"),
			some("keys=cached,order=2"), some("keys=cached,order=2,basis=hermite"), none(byToken), none(byToken),
			none(byToken), some("order=2"),
		},
	}
}

// axes returns the runs of the crossing at each speed, and fills in its tables.
func (r *runner) axes(ctx context.Context) ([]run, error) {
	var runs []run
	for _, speed := range r.Speeds {
		t := report.AxesTable{Speed: speed, Computed: axisComputed, Rest: axisRest}
		for i, row := range crossing() {
			var cells []report.AxesCell
			for j, c := range row {
				s, err := r.combined(ctx, c, speed)
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				s.Method, s.Wanted = axisComputed[i]+" × "+axisRest[j], speed
				switch {
				case c.why != "":
					cells = append(cells, report.AxesCell{Why: c.why})
					continue
				case err != nil && s.Error == "":
					s.Error, s.Unreachable = err.Error(), unreachable(err)
				}
				cells = append(cells, report.AxesCell{Policy: s.Policy, Why: s.Error})
				runs = append(runs, s)
			}
			t.Cells = append(t.Cells, cells)
		}
		r.result.Axes = append(r.result.Axes, t)
	}
	return runs, nil
}

// combined returns the run of a combination at a speed.
func (r *runner) combined(ctx context.Context, c combination, speed float64) (s run, err error) {
	switch {
	case c.why != "":
	case c.method != "":
		var ok bool
		if s, ok = r.at(ctx, methodOf(c.method), speed, false); !ok {
			return s, &calibrate.SpeedError{What: "the model has no such policy for this speed"}
		}
	case c.planned != "":
		s.Policy, err = r.planned(ctx, c.planned, speed)
	default:
		r.stage("looking for %s at %gx", c.ladder[0], speed)
		s.Policy, err = r.nearest(ctx, c.ladder, speed, false)
	}
	return s, err
}

// planned returns a policy with the full steps of DPCache's plan for a speed.
func (r *runner) planned(ctx context.Context, policy string, speed float64) (string, error) {
	dir, err := r.calibrate(ctx, reuse.DPCacheMethod, speed)
	if err != nil {
		return "", err
	}
	t, err := reuse.Open(dir)
	if err != nil {
		return "", err
	}
	if t.DP == nil || len(t.DP.List) == 0 {
		return "", fmt.Errorf("%s: no planned steps", dir)
	}
	var steps []string
	for _, p := range t.DP.List {
		steps = append(steps, strconv.Itoa(p))
	}
	return policy + ",steps=list,i=" + strings.Join(steps, "+"), nil
}

// unreachable tells the error of a method that has no setting for a speed from a failure.
func unreachable(err error) bool {
	var none *calibrate.SpeedError
	var unreached *UnreachedError
	return errors.As(err, &none) || errors.As(err, &unreached)
}
