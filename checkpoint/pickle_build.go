package checkpoint

import (
	"fmt"
)

// collect runs the instructions that make and fill containers.
func (u *unpickler) collect(op byte) error {
	switch op {
	case opEmptyTuple:
		return u.pushNew(tuple{}, nil)
	case opEmptyList, opEmptySet:
		return u.pushNew(&list{}, nil)
	case opEmptyDict:
		return u.pushNew(&dict{}, nil)
	case opTuple1, opTuple2, opTuple3:
		items, err := u.popN(int(op-opTuple1) + 1)
		return u.pushNew(tuple(items), err)
	case opTuple, opFrozenSet:
		items, err := u.popMark()
		return u.pushNew(tuple(items), err)
	case opList:
		items, err := u.popMark()
		return u.pushNew(&list{items}, err)
	case opAppend:
		items, err := u.popN(1)
		return u.extend(items, err)
	case opAppends, opAddItems:
		items, err := u.popMark()
		return u.extend(items, err)
	case opDict:
		items, err := u.popMark()
		if err := u.pushNew(&dict{}, err); err != nil {
			return err
		}
		return u.setItems(items, nil)
	case opSetItem:
		items, err := u.popN(2)
		return u.setItems(items, err)
	case opSetItems:
		items, err := u.popMark()
		return u.setItems(items, err)
	}
	return fmt.Errorf("instruction %#x is not one that weights need", op)
}

// extend appends to the list, or the set, on top of the stack.
func (u *unpickler) extend(items []any, err error) error {
	if err != nil {
		return err
	}
	v, err := u.top()
	if err != nil {
		return err
	}
	var l *list
	switch v := v.(type) {
	case *list:
		l = v
	case *record: // of a class that is a list
		l = &v.list
	default:
		return fmt.Errorf("appending to %s", kind(v))
	}
	if err := u.spend(3 * itemCost * int64(len(items))); err != nil {
		return err
	}
	l.items = append(doubled(l.items, len(items)), items...)
	return nil
}

// setItems adds keys and values to the dict on top of the stack.
func (u *unpickler) setItems(items []any, err error) error {
	if err != nil {
		return err
	}
	v, err := u.top()
	if err != nil {
		return err
	}
	var d *dict
	switch v := v.(type) {
	case *dict:
		d = v
	case *record: // of a class that is a dict
		d = &v.dict
	default:
		return fmt.Errorf("setting items of %s", kind(v))
	}
	if len(items)%2 != 0 {
		return fmt.Errorf("setting %d items, want keys and values", len(items))
	}
	if err := u.spend(pairCost * int64(len(items)+len(items)/2)); err != nil {
		return err
	}
	d.pairs = doubled(d.pairs, len(items)/2)
	for i := 0; i < len(items); i += 2 {
		d.pairs = append(d.pairs, pair{items[i], items[i+1]})
	}
	return nil
}

// call runs a function of globals. The result of any other function, and an object of any other
// class, is a record.
func (u *unpickler) call(op byte) (any, error) {
	callee, args, err := u.callee(op)
	if err != nil {
		return nil, err
	}
	if args == nil {
		return nil, fmt.Errorf("calling %s without a tuple of arguments", kind(callee))
	}
	switch callee := callee.(type) {
	case *global:
		if callee.call != nil {
			return callee.call(u, args)
		}
		return &record{class: callee.name, args: args}, nil
	case *record:
		return &record{class: callee.class, args: args}, nil
	}
	return nil, fmt.Errorf("calling %s", kind(callee))
}

// callee takes what is called and its arguments, which are nil if they are no tuple.
func (u *unpickler) callee(op byte) (function any, args tuple, err error) {
	switch op {
	case opInst:
		function, err = u.global(opGlobal)
		if err != nil {
			return nil, nil, err
		}
		args, err = u.popMark()
		return function, args, err
	case opObj:
		items, err := u.popMark()
		if err != nil || len(items) == 0 {
			return nil, nil, errUnderflow
		}
		return items[0], items[1:], nil
	}
	n := 2
	if op == opNewObjEx {
		n = 3 // with keyword arguments, which only records could have
	}
	operands, err := u.popN(n)
	if err != nil {
		return nil, nil, err
	}
	if r, ok := operands[1].(*record); ok { // arguments that nothing here knows make a record of the result
		return &record{class: kind(operands[0])}, tuple{r}, nil
	}
	args, _ = operands[1].(tuple)
	return operands[0], args, nil
}

// build gives the object on top of the stack its attributes, of which those of records are kept, to
// be shown.
func (u *unpickler) build() error {
	state, err := u.pop()
	if err != nil {
		return err
	}
	v, err := u.top()
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *record:
		v.state = state
	case *dict, *list, *view:
	default:
		return fmt.Errorf("setting attributes of %s", kind(v))
	}
	return nil
}

// global reads what a pickle names. What is not in globals can be called too, which makes a record.
func (u *unpickler) global(op byte) (*global, error) {
	var module, name string
	var err error
	if op == opGlobal {
		if module, err = u.line(); err == nil {
			name, err = u.line()
		}
		if err != nil {
			return nil, err
		}
	} else {
		operands, err := u.popN(2)
		if err != nil {
			return nil, err
		}
		var ok, ok2 bool
		module, ok = operands[0].(string)
		name, ok2 = operands[1].(string)
		if !ok || !ok2 {
			return nil, fmt.Errorf("a global named by %s and %s", kind(operands[0]), kind(operands[1]))
		}
	}
	name = module + "." + name
	if g := globals[name]; g != nil {
		return g, nil
	}
	return &global{name: name}, u.spend(int64(len(name)))
}
