package comparison

import "fmt"

// Check reports what a comparison of the options would refuse, before it measures or reads anything:
// counts, a sampling that there is not, and policies that Open does not know or that the pipeline
// refuses with their sampling. Methods are not checked: one that cannot reach a speed is listed
// with what it reaches.
func Check(o Options) error {
	if err := o.checkCounts(); err != nil {
		return err
	}
	r := &runner{Options: o}
	var err error
	if r.Subjects, err = o.Pipeline.SubjectsOr(o.Subjects); err != nil {
		return err
	}
	if r.plan, err = o.Pipeline.Plan(o.Sampling); err != nil || o.Axes {
		return err
	}
	for _, name := range r.names() {
		if methodOf(name) != nil {
			continue
		}
		s, err := r.named(name)
		if err != nil {
			return err
		}
		req := r.request(0, 1)
		if req.Policy, req.Sampling, err = r.policyOf(s); err != nil {
			return err
		}
		if err := o.Pipeline.Check(req); err != nil {
			return err
		}
	}
	return nil
}

// checkCounts reports counts of images and repetitions that mean nothing.
func (o *Options) checkCounts() error {
	if o.Count < 2 || o.Timed < 1 || o.Repeat < 1 {
		return fmt.Errorf("%d images, %d timed, %d repetitions: want 2 or more, and 1 or more of the others",
			o.Count, o.Timed, o.Repeat)
	}
	return nil
}
