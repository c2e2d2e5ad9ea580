package calibrate

const (
	// firstMove is how far a node is moved at first, as a share of the way to its neighbour; lastMove
	// is where halving it ends.
	firstMove, lastMove = 0.25, 0.03
	// worse is how much less near the solution a trial may be where it has passed the moved node and
	// its nodes are again those of the best: one that is farther is given up there.
	worse = 0.15 // dB
	// better is what a trial must gain.
	better = 0.003 // dB
)

// place moves the nodes of a solver, one at a time, as long as that brings its result nearer to the
// solution: c.Trials moves in all. The first stays.
func (c *Solver) place(predict predictor, s *solution, nodes []float64,
	stage func(format string, args ...any)) ([]float64, error) {
	if c.Trials == 0 {
		return nodes, nil
	}
	best := newSolverRun(predict, s, nodes, c.Ridge)
	if err := best.finish(); err != nil {
		return nil, err
	}
	stage("timesteps as they are: %.2f dB on %d images", best.near[len(nodes)], s.images)
	up := make([]bool, len(nodes)) // of each node: where it is moved first
	for trials, share := 0, firstMove; share > lastMove; share /= 2 {
		for gained := true; gained; {
			gained = false
			for k := len(nodes) - 1; k > 0; k-- {
				for range 2 {
					if trials == c.Trials {
						return best.nodes, nil
					}
					trials++
					trial, err := best.try(k, share, up[k])
					if err != nil {
						return nil, err
					}
					if trial != nil {
						best, gained = trial, true
						stage("trial %d of %d: %.2f dB, timestep %d at %.2f", trials, c.Trials,
							best.near[len(nodes)], k, s.schedule.Timestep(best.nodes[k]))
						break
					}
					up[k] = !up[k]
				}
			}
		}
	}
	return best.nodes, nil
}

// try moves node k by a share of the way to the next node or to the one before. It returns the run
// if that is nearer to the solution, else nil.
func (r *solverRun) try(k int, share float64, up bool) (*solverRun, error) {
	to := r.nodes[k-1]
	if up {
		to = r.s.logSNR[len(r.s.logSNR)-1]
		if k+1 < len(r.nodes) {
			to = r.nodes[k+1]
		}
	}
	if to == r.nodes[k] {
		return nil, nil
	}
	m := r.moved(k, r.nodes[k]+share*(to-r.nodes[k]))
	for len(m.weights) < len(m.nodes) {
		if err := m.step(); err != nil {
			return nil, err
		}
		if done := len(m.weights); done > k+1 && m.near[done] < r.near[done]-worse {
			return nil, nil
		}
	}
	if m.near[len(m.nodes)] < r.near[len(m.nodes)]+better {
		return nil, nil
	}
	return m, nil
}
