"""A hundred injected faults: does a run come through, and what does it lose?"""
