package comparison

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// rung is a setting of an arm.
type rung struct {
	policy string  // as a run has it; "": it is calibrated for speed when it is first tried
	speed  float64 // of a calibrated rung, times the uncached model
}

// arm is a way to be faster, with its settings from slow to fast.
type arm struct {
	title      string
	rungs      []rung
	calibrated string // method of calibration of rungs without a policy
	family     string // arms of one family, such as a solver's spacings, have one candidate; "": the arm is alone
}

// lab measures candidates. Tests have one of their own, with its own clock.
type lab interface {
	// trial measures a rung on the first images of the search's seed.
	trial(ctx context.Context, a *arm, at, images int) (outcome, error)
	// ahead is told which trials come next, so that they can be made at the same time.
	ahead(ctx context.Context, next []*pick, images int) error
	// clock returns how many times as fast as the uncached model a rung is, in wall-clock time.
	clock(ctx context.Context, a *arm, at int) (float64, error)
	// verify measures a rung on unseen images.
	verify(ctx context.Context, a *arm, at int) (outcome, error)
	// say tells the user what was found.
	say(format string, args ...any)
	// passed is told that a part of the work is done, or was found not to be needed.
	passed(work float64)
}

// hunt looks for the best candidate of all arms by successive halving: all arms on few images and by
// counted FLOPs, the better half on many, the clock for the finalists, and unseen images for the
// answer.
type hunt struct {
	lab
	target    Target
	few, many int // images of a trial

	leader   float64 // the fewest FLOPs of what is good so far, as a factor
	verified int
	missed   []string // why what was near did not become the answer
	slow     []string // titles of arms that cannot reach the speed, with what they reach
}

const (
	survivors   = 8 // arms, of those that few images leave
	finalists   = 4 // of these, whose time is measured
	maxVerified = 8 // candidates on unseen images
	// nearLeader is which share of the leader's FLOP reduction a candidate still needs, while the
	// clock or more images may change the order.
	nearLeader = 0.9
	// fewMargin is by how many dB few images may be off.
	fewMargin = 1.0
)

// pick is a candidate: a rung of an arm.
type pick struct {
	*arm
	at int
	outcome
}

func (p *pick) policy() string { return p.rungs[p.at].policy }

// run returns the best candidate, nil if none keeps the target.
func (h *hunt) run(ctx context.Context, arms []*arm, work func(*arm) float64) (*pick, error) {
	if err := h.ahead(ctx, firstTrials(arms), h.few); err != nil {
		return nil, err
	}
	var picks []*pick
	for _, a := range arms {
		p, err := h.scout(ctx, a)
		if err = h.tolerate(ctx, a, err); err != nil {
			return nil, err
		}
		if p != nil {
			picks = append(picks, p)
		}
		h.passed(work(a))
	}
	h.sort(picks)
	picks = onePerFamily(picks)
	for batch := range slices.Chunk(picks, survivors) {
		if h.verified >= maxVerified {
			break
		}
		good, err := h.halve(ctx, batch)
		if err != nil {
			return nil, err
		}
		for len(good) > 0 && h.verified < maxVerified {
			var timed []*pick
			if timed, good, err = h.time(ctx, good); err != nil {
				return nil, err
			}
			best, err := h.settle(ctx, timed)
			if best != nil || err != nil {
				return best, err
			}
		}
	}
	return nil, nil
}

// onePerFamily keeps, of sorted candidates of one family with equal FLOPs, the one of highest PSNR, and
// of others the first: the clock cannot tell equal FLOPs apart.
func onePerFamily(picks []*pick) []*pick {
	var list []*pick
	for _, p := range picks {
		at := slices.IndexFunc(list, func(o *pick) bool { return p.family != "" && o.family == p.family })
		switch {
		case at < 0:
			list = append(list, p)
		case p.fewer == list[at].fewer && p.psnr > list[at].psnr:
			list[at] = p
		}
	}
	return list
}

// firstTrials are those that scouting the arms begins with, of arms that need no calibration.
func firstTrials(arms []*arm) []*pick {
	var list []*pick
	for _, a := range arms {
		if a.calibrated == "" && len(a.rungs) > 0 {
			list = append(list, &pick{arm: a, at: len(a.rungs) / 2})
		}
	}
	return list
}

// tolerate returns errors that end the search, and says others: they end an arm.
func (h *hunt) tolerate(ctx context.Context, a *arm, err error) error {
	var unreached *UnreachedError
	var conflict *ConflictError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &conflict): // of the folder, so that nothing else goes either
		return err
	case errors.As(err, &unreached):
		h.slow = append(h.slow, fmt.Sprintf("%s %v", a.title, err))
		h.say("%s %v", a.title, err)
	default:
		h.say("%s is left out: %v", a.title, err)
	}
	return nil
}

// scout returns an arm's candidate by few images, nil if it has none: where a speed is wanted, the
// slowest rung that is fast enough by counted FLOPs, and otherwise the fastest that is good.
func (h *hunt) scout(ctx context.Context, a *arm) (*pick, error) {
	var best, nearest *pick
	near, sure := h.target, h.target
	near.psnr, sure.psnr = near.psnr-fewMargin, sure.psnr+fewMargin
	low, high := h.first(a), len(a.rungs)
	fastest, failed := 0.0, error(nil)
	for n := 0; low < high; n++ {
		middle := (low + high) / 2
		if a.calibrated != "" && (n == 0 || h.target.speed > 0) {
			middle = low // a calibration is dear: as few as possible
		}
		o, err := h.trial(ctx, a, middle, h.few)
		if err != nil && a.calibrated != "" && ctx.Err() == nil { // for that speed
			failed, high = err, middle
			continue
		}
		if err != nil {
			return nil, err
		}
		p := &pick{a, middle, o}
		fastest = max(fastest, o.fewer)
		if nearest == nil || o.psnr > nearest.psnr {
			nearest = p
		}
		switch {
		case h.target.speed > 0 && o.fewer >= h.target.speed:
			best, high = p, middle
		case h.target.speed > 0:
			low = middle + 1
		case h.target.good(o):
			best, low = p, middle+1
			if sure.good(o) {
				h.leader = max(h.leader, o.fewer)
			}
		case !near.good(o) && o.fewer < nearLeader*h.leader: // what is good is slower still
			if best == nil {
				h.say("%s: what it has for the target is slower than the best so far", a.title)
			}
			return best, nil
		default:
			high = middle
		}
	}
	switch {
	case best == nil && failed != nil:
		return nil, failed
	case best == nil && h.target.speed > 0:
		return nil, &UnreachedError{Speed: h.target.speed, FLOPs: fastest}
	case best == nil && nearest != nil:
		h.miss(nearest, fmt.Sprintf("%d images", h.few))
		return nil, nil
	case best != nil && !near.good(best.outcome):
		h.miss(best, fmt.Sprintf("%d images", h.few))
		return nil, nil
	}
	return best, nil
}

// first returns the rung that an arm begins with: where rungs are calibrated and no speed is wanted,
// the slowest that would lead.
func (h *hunt) first(a *arm) int {
	if a.calibrated == "" || h.target.speed > 0 {
		return 0
	}
	i := slices.IndexFunc(a.rungs, func(r rung) bool { return r.speed >= h.leader })
	if i < 0 {
		return len(a.rungs)
	}
	return i
}

// miss notes that a candidate is not good enough.
func (h *hunt) miss(p *pick, where string) {
	text := fmt.Sprintf("%s (%s): %s on %s", p.title, p.policy(), h.target.describe(p.outcome), where)
	h.missed = append(h.missed, text)
	h.say("%s is not good enough: %s on %s", p.title, h.target.describe(p.outcome), where)
}

// sort puts the best candidates first.
func (h *hunt) sort(picks []*pick) {
	slices.SortStableFunc(picks, func(a, b *pick) int {
		switch {
		case h.target.better(a.outcome, b.outcome):
			return -1
		case h.target.better(b.outcome, a.outcome):
			return 1
		}
		return 0
	})
}

// halve tries candidates on many images and returns those that are good, the best first.
// Where no speed is wanted they move to the fastest rung that is good on these.
func (h *hunt) halve(ctx context.Context, picks []*pick) ([]*pick, error) {
	if err := h.ahead(ctx, picks, h.many); err != nil {
		return nil, err
	}
	var good []*pick
	for _, p := range picks {
		ok, err := h.move(ctx, p)
		if err = h.tolerate(ctx, p.arm, err); err != nil {
			return nil, err
		}
		if ok {
			good = append(good, p)
			h.say("%s (%s): %s", p.title, p.policy(), h.target.describe(p.outcome))
		}
		h.passed(float64(h.many) * cachedShare)
	}
	h.sort(good)
	return good, nil
}

// move tries a candidate on many images, and where no speed is wanted moves it to the fastest rung
// that is good. It reports whether the candidate is good.
func (h *hunt) move(ctx context.Context, p *pick) (bool, error) {
	ok, err := h.try(ctx, p, p.at)
	if err != nil || h.target.speed > 0 {
		return ok, err
	}
	for !ok && p.at > 0 {
		if ok, err = h.try(ctx, p, p.at-1); err != nil {
			return false, err
		}
	}
	for ok && p.at+1 < len(p.rungs) {
		next := *p
		better, err := h.try(ctx, &next, p.at+1)
		if err != nil || !better || next.fewer <= p.fewer {
			return true, ctx.Err()
		}
		*p = next
	}
	return ok, nil
}

// try measures a rung of a candidate on many images, and reports whether it is good.
func (h *hunt) try(ctx context.Context, p *pick, at int) (bool, error) {
	o, err := h.trial(ctx, p.arm, at, h.many)
	if err != nil {
		return false, err
	}
	o.speed = 0
	p.at, p.outcome = at, o
	ok := h.target.good(o)
	if !ok && (at == 0 || h.target.speed > 0) {
		h.miss(p, fmt.Sprintf("%d images", h.many))
	}
	return ok, nil
}

// time measures the speed of the best candidates and returns them, the best first, and the rest.
// Where one is slower than wanted its next rung is tried, until the clock says that it is as fast, or
// no rung is left.
func (h *hunt) time(ctx context.Context, picks []*pick) (timed, rest []*pick, err error) {
	for n, p := range picks {
		if len(timed) == finalists {
			rest = picks[n:]
			break
		}
		ok, err := h.quicken(ctx, p)
		if err = h.tolerate(ctx, p.arm, err); err != nil {
			return nil, nil, err
		}
		if ok {
			timed = append(timed, p)
			h.say("%s (%s): %s", p.title, p.policy(), h.target.describe(p.outcome))
		}
	}
	h.sort(timed)
	return timed, rest, nil
}

// quicken moves a candidate to the slowest rung from its own on that the clock finds fast enough,
// and reports whether that is good. An UnreachedError says that there is none.
func (h *hunt) quicken(ctx context.Context, p *pick) (bool, error) {
	fastest, began := 0.0, p.at
	for at := p.at; at < len(p.rungs); at++ {
		if at != began { // calibrated when it is first tried
			_, err := h.try(ctx, p, at)
			if err != nil && p.calibrated != "" && ctx.Err() == nil {
				break // as fast as it gets
			}
			if err != nil {
				return false, err
			}
		}
		speed, err := h.clock(ctx, p.arm, at)
		if err != nil {
			return false, err
		}
		fastest = max(fastest, speed)
		p.speed = speed
		if h.target.fast(p.outcome) {
			return h.target.good(p.outcome), nil
		}
		if at+1 < len(p.rungs) {
			h.say("%s (%s) is %.2fx in wall-clock time: its next setting is tried", p.title, p.policy(), speed)
		}
	}
	return false, &UnreachedError{Speed: h.target.speed, FLOPs: p.fewer, Wall: fastest}
}

// settle returns the best candidate whose figures hold on unseen images, nil if there is none. Where
// one misses there, its next slower rung is a candidate too.
func (h *hunt) settle(ctx context.Context, picks []*pick) (*pick, error) {
	for len(picks) > 0 && h.verified < maxVerified {
		p := picks[0]
		picks = picks[1:]
		h.verified++
		o, err := h.verify(ctx, p.arm, p.at)
		if err != nil {
			if err = h.tolerate(ctx, p.arm, err); err != nil {
				return nil, err
			}
			continue
		}
		seen := p.outcome
		p.outcome = o
		if h.target.good(o) && h.target.fast(o) {
			return p, nil
		}
		h.miss(p, "unseen images")
		slower := &pick{p.arm, p.at - 1, seen}
		if slower.at < 0 || h.target.speed > 0 {
			continue
		}
		_, err = h.try(ctx, slower, slower.at)
		if err == nil {
			slower.speed, err = h.clock(ctx, slower.arm, slower.at)
		}
		if err = h.tolerate(ctx, p.arm, err); err != nil {
			return nil, err
		}
		if slower.speed > 0 {
			picks = append(picks, slower)
			h.sort(picks)
		}
	}
	return nil, nil
}
