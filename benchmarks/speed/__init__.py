"""How fast is it, how much memory does it take, and where do the seconds go?"""
