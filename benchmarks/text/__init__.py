"""Are the texts found the right ones, and how soon?"""
