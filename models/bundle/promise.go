package bundle

import (
	"errors"
	"fmt"

	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// NoPromiseError reports that no bundled policy has a contract for how images are sampled.
// Computing everything then keeps any PSNR to the uncached images.
type NoPromiseError struct {
	Model    string // name of the bundle; "" for a model that is not bundled
	Sampling diffusion.Sampling
	// Nearest is what the contract that differs least is for; nil if there is no contract.
	Nearest *reuse.ContractMismatchError
}

func (e *NoPromiseError) Error() string {
	if e.Model == "" {
		return "no policies are bundled with this model"
	}
	text := fmt.Sprintf("no policy bundled with %s has a contract for %s", e.Model, describe(e.Sampling))
	if e.Nearest != nil {
		text += fmt.Sprintf(" (the nearest is for %s)", e.Nearest.Differ())
	}
	return text
}

// ForPSNR returns, of the bundled policies, the one whose contract keeps what is promised with the
// fewest operations. Where none does, the error says why:
//
//   - *reuse.UncachedMissesError: the uncached images themselves miss it;
//   - *reuse.ContractLimitError, of the policy that keeps most: there are contracts, and they end
//     below it;
//   - *reuse.ContractMismatchError: there are contracts, for other number formats alone;
//   - *reuse.NoContractError: nothing is calibrated to the converged solution;
//   - *NoPromiseError: no contract is for the sampling, and the promise is to the uncached images.
func (b *Bundle) ForPSNR(s reuse.Setting, promise reuse.Promise) (*reuse.Trained, error) {
	list, err := b.Policies()
	if err != nil {
		return nil, err
	}
	var best *reuse.Trained
	most := 0.0
	r := refusals{Promise: promise, setting: s}
	if b != nil {
		r.model = b.Name
	}
	for _, t := range list {
		if t.Kind() == reuse.Uncached && t.Contract == nil {
			continue // a solver alone, which promises nothing
		}
		if _, err := reuse.Guard(t, promise, s); err != nil {
			r.add(err)
		} else if point, ok := t.Contract.For(promise); ok && point.FLOPs > most {
			best, most = t, point.FLOPs
		}
	}
	if best == nil {
		return nil, r.reason()
	}
	return best, nil
}

// refusals are why policies do not keep a promise.
type refusals struct {
	reuse.Promise
	setting reuse.Setting
	model   string

	misses  *reuse.UncachedMissesError
	limit   *reuse.ContractLimitError    // of the policy that keeps most
	nearest *reuse.ContractMismatchError // with the fewest differences
}

// add takes in why a policy does not.
func (r *refusals) add(err error) {
	var (
		misses   *reuse.UncachedMissesError
		limit    *reuse.ContractLimitError
		mismatch *reuse.ContractMismatchError
	)
	switch {
	case errors.As(err, &misses):
		r.misses = misses
	case errors.As(err, &limit) && (r.limit == nil || limit.Max > r.limit.Max):
		r.limit = limit
	case errors.As(err, &mismatch) && (r.nearest == nil || len(mismatch.Differences) < len(r.nearest.Differences)):
		r.nearest = mismatch
	}
}

// reason returns the reason for all.
func (r *refusals) reason() error {
	switch {
	case r.misses != nil:
		return r.misses
	case r.limit != nil:
		highest := *r.limit
		highest.Among = r.model
		return &highest
	case r.nearest != nil && r.nearest.OfFormats():
		return r.nearest
	case r.Reference == reuse.ToConverged:
		return &reuse.NoContractError{Reference: reuse.ToConverged}
	}
	return &NoPromiseError{Model: r.model, Sampling: r.setting.Sampling, Nearest: r.nearest}
}
